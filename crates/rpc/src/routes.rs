//! Paths of a listener: calls, WebSockets, health, metrics, and a word for people with a browser.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::connections::Connection;
use crate::dispatch::{Answer, Dispatcher, Via};
use crate::health::Report;
use crate::message::ErrorObject;
use crate::server::{Cors, Service, Surface};
use crate::socket;

const LIVENESS: [&str; 3] = ["/livez", "/live", "/is_alive"];
const READINESS: [&str; 6] = ["/readyz", "/ready", "/ready/sync", "/ready/synced", "/health", "/healthz"];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the handler of one mounted path knows.
#[derive(Clone)]
struct Mounted {
    dispatcher: Arc<Dispatcher>,
    service: Arc<Service>,
    surface: Surface,
    tracker: TaskTracker,
    stop: CancellationToken,
}

pub(crate) fn router(
    service: &Arc<Service>,
    surface: Surface,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Router {
    let mut router = Router::new();
    for (path, dispatcher) in service.mounts.iter().filter(|_| surface.http || surface.websocket) {
        let mounted = Mounted {
            dispatcher: Arc::clone(dispatcher),
            service: Arc::clone(service),
            surface,
            tracker: tracker.clone(),
            stop: stop.clone(),
        };
        router = router.route(path, get(greet_or_upgrade).post(call).with_state(mounted));
    }
    if surface.health {
        for path in LIVENESS {
            let service = Arc::clone(service);
            router = router.route(path, get(move || async move { health_response(&service.health.liveness()) }));
        }
        for path in READINESS {
            let service = Arc::clone(service);
            router = router.route(path, get(move || async move { health_response(&service.health.readiness()) }));
        }
    }
    if surface.metrics {
        let service = Arc::clone(service);
        router = router.route("/metrics", get(move || async move { metrics_response(&service) }));
    }
    // Where nothing is mounted yet, whoever calls is to try again.
    let (status, word) = if service.mounts.is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "nothing is served here yet; /readyz says why\n")
    } else {
        (StatusCode::NOT_FOUND, "nothing here; try / or /readyz\n")
    };
    let router = router.fallback(move || async move { plain(status, word) });
    match cors_layer(&service.cors) {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

fn cors_layer(cors: &Cors) -> Option<CorsLayer> {
    let origins = match cors {
        Cors::Off => return None,
        Cors::Any => AllowOrigin::any(),
        Cors::Origins(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let layer = CorsLayer::new().allow_methods([Method::GET, Method::POST]);
    Some(layer.allow_headers([header::CONTENT_TYPE]).allow_origin(origins))
}

async fn call(State(mounted): State<Mounted>, headers: HeaderMap, body: Body) -> Response {
    if !mounted.surface.http {
        return plain(StatusCode::FORBIDDEN, "JSON-RPC by HTTP is switched off here; open a WebSocket instead\n");
    }
    if let Some(refusal) = unauthorized(&mounted.service, &headers) {
        return closing(refusal);
    }
    if !is_json(&headers) {
        let advice = "send JSON-RPC with the header content-type: application/json\n";
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, advice);
    }
    let limits = &mounted.dispatcher.limits;
    let reading = Limited::new(body, limits.body_bytes_max).collect();
    let text = match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let answer = Answer::refusal(ErrorObject::request_too_large(limits.body_bytes_max));
            return closing(json(StatusCode::PAYLOAD_TOO_LARGE, answer.text.unwrap_or_default()));
        }
        Ok(Err(error)) => return closing(plain(StatusCode::BAD_REQUEST, format!("the body broke off: {error}\n"))),
        Err(_) => {
            let patience = limits.body_timeout.as_secs_f64();
            let reason = format!("the body did not arrive within {patience} s\n");
            return closing(plain(StatusCode::REQUEST_TIMEOUT, reason));
        }
    };
    match mounted.dispatcher.answer(&text, Via::Http).await.text {
        Some(text) => json(StatusCode::OK, text),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// What to say to who shows no good token, where one is asked for.
fn unauthorized(service: &Service, headers: &HeaderMap) -> Option<Response> {
    let secret = service.secret.as_ref()?;
    let header = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let denied = secret.admits(header, SystemTime::now()).err()?;
    service.metrics.denied.inc();
    tracing::debug!(%denied, "a request without a good token");
    let mut response = plain(StatusCode::UNAUTHORIZED, format!("{denied}\n"));
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

/// A page in a browser can send text or a form to any address without asking; JSON it cannot. So only JSON is taken.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/json" | "application/json-rpc" | "application/jsonrequest")
}

async fn greet_or_upgrade(
    State(mounted): State<Mounted>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Some(refusal) = unauthorized(&mounted.service, &headers) {
        return refusal;
    }
    let asked = headers.get(header::UPGRADE).is_some();
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) if asked => return rejection.into_response(),
        Err(_) => return plain(StatusCode::OK, mounted.service.greeting.clone()),
    };
    if !mounted.surface.websocket {
        return plain(StatusCode::FORBIDDEN, "WebSockets are switched off here; send JSON-RPC by POST\n");
    }
    if !origin_may_connect(&headers, &mounted.service.cors) {
        let reason = "pages of this origin may not connect; the server must be told to allow it (CORS)\n";
        return plain(StatusCode::FORBIDDEN, reason);
    }
    let bytes = mounted.dispatcher.limits.message_bytes_max;
    let Mounted { dispatcher, tracker, stop, .. } = mounted;
    upgrade.max_message_size(bytes).max_frame_size(bytes).on_upgrade(move |socket| {
        tracker.track_future(async move { socket::serve(socket, dispatcher, connection, stop).await })
    })
}

/// Browsers let any page open a WebSocket anywhere and say so in `Origin`; other clients send none.
fn origin_may_connect(headers: &HeaderMap, cors: &Cors) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    match cors {
        Cors::Any => true,
        Cors::Origins(origins) => origins.contains(origin),
        Cors::Off => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            page.is_some() && page == host
        }
    }
}

fn health_response(report: &Report) -> Response {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, serde_json::to_string(report).unwrap_or_default())
}

fn metrics_response(service: &Service) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &service.registry) {
        Ok(()) => respond(StatusCode::OK, OPENMETRICS, text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics could not be written: {error}\n")),
    }
}

fn json(status: StatusCode, text: String) -> Response {
    respond(status, JSON, text)
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    respond(status, TEXT, text.into())
}

fn respond(status: StatusCode, kind: HeaderValue, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Ends the connection after the response: what is left of the request is not worth reading.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_taken() {
        let table = [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/json-rpc"), true),
            (Some("text/plain"), false),
            (Some("application/x-www-form-urlencoded"), false),
            (None, false),
        ];
        for (kind, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            assert_eq!(is_json(&headers), expected, "for {kind:?}");
        }
    }

    #[test]
    fn a_strange_page_may_not_open_a_websocket() {
        let app = HeaderValue::from_static("http://app.example");
        let table = [
            (None, Cors::Off, true),
            (Some("http://127.0.0.1:6060"), Cors::Off, true),
            (Some("http://app.example"), Cors::Off, false),
            (Some("null"), Cors::Off, false),
            (Some("http://app.example"), Cors::Any, true),
            (Some("http://app.example"), Cors::Origins(vec![app.clone()]), true),
            (Some("http://other.example"), Cors::Origins(vec![app]), false),
        ];
        for (origin, cors, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:6060"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(origin_may_connect(&headers, &cors), expected, "{origin:?} with {cors:?}");
        }
    }
}
