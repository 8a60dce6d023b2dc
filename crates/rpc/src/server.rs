//! The service and its accept loop.
//!
//! The loop is ours, because the limits need it: a half-sent header must end, silent sockets must count, and a stop
//! must be over in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::connections::{Connection, Connections};
use crate::dispatch::{Dispatcher, Turns};
use crate::health::Health;
use crate::jwt::JwtSecret;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::routes;

/// How long accepting rests when the system refuses a socket, as it does when file descriptors run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// How long sockets that ignored the grace period get to notice that they were dropped.
const DROP_GRACE: Duration = Duration::from_millis(500);

/// What a listener shows of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// JSON-RPC by POST.
    pub http: bool,
    /// JSON-RPC by WebSocket.
    pub websocket: bool,
    /// `/livez`, `/readyz` and their aliases.
    pub health: bool,
    /// `/metrics`.
    pub metrics: bool,
}

impl Surface {
    /// Everything on one port.
    pub const ALL: Surface = Surface { http: true, websocket: true, health: true, metrics: true };
    /// For a scraper's port.
    pub const METRICS: Surface = Surface { http: false, websocket: false, health: true, metrics: true };
    /// For a port of WebSockets alone.
    pub const WEBSOCKET: Surface = Surface { http: false, websocket: true, health: true, metrics: false };
}

/// Which web pages may call the service. Programs that are not browsers are not concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// None but pages that the service itself would serve.
    #[default]
    Off,
    /// Any.
    Any,
    /// Pages of these origins, such as `https://app.example`.
    Origins(Vec<HeaderValue>),
}

/// Namespaces, limits, health and metrics, ready to listen.
pub struct Service {
    pub(crate) mounts: Vec<(String, Arc<Dispatcher>)>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) registry: Arc<Registry>,
    pub(crate) cors: Cors,
    pub(crate) greeting: String,
    pub(crate) secret: Option<JwtSecret>,
    turns: Arc<Turns>,
    connections: Arc<Connections>,
}

impl Service {
    /// A service without any namespace.
    pub fn new(limits: Limits) -> Self {
        Service::counting_in(limits, Metrics::new())
    }

    /// A service without any namespace that has the limits of this one and is counted in its metrics, with sockets and
    /// turns of its own: what crowds the one does not delay the other.
    #[must_use]
    pub fn beside(&self) -> Self {
        Service::counting_in(Limits::clone(&self.limits), self.metrics.clone())
    }

    fn counting_in(limits: Limits, metrics: Metrics) -> Self {
        let limits = Arc::new(limits);
        Service {
            mounts: Vec::new(),
            turns: Arc::new(Turns::new(limits.concurrent_calls_max)),
            connections: Arc::new(Connections::new(Arc::clone(&limits), metrics.clone())),
            limits,
            metrics,
            health: Health::new(),
            registry: Arc::new(Registry::default()),
            cors: Cors::Off,
            greeting: "JSON-RPC 2.0 lives here. Send requests by POST or open a WebSocket.\n".to_owned(),
            secret: None,
        }
    }

    /// Answers `path` with the namespace, by POST and by WebSocket. A path starts with `/` and is given once.
    #[must_use]
    pub fn mount(mut self, path: &str, namespace: Arc<dyn Namespace>) -> Self {
        let (limits, turns) = (Arc::clone(&self.limits), Arc::clone(&self.turns));
        let dispatcher = Dispatcher::new(namespace, limits, turns, self.metrics.clone());
        self.mounts.push((path.to_owned(), Arc::new(dispatcher)));
        self
    }

    /// The checks behind the health routes.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Enters the transport's own metrics into `registry`. Once everyone else has done so too, hand the registry to
    /// [`Service::registry`].
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// What `/metrics` shows.
    #[must_use]
    pub fn registry(mut self, registry: Arc<Registry>) -> Self {
        self.registry = registry;
        self
    }

    /// Which web pages may call.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// What a person sees who opens the endpoint in a browser.
    #[must_use]
    pub fn greeting(mut self, text: impl Into<String>) -> Self {
        self.greeting = text.into();
        self
    }

    /// Answers nobody who does not show a token made with this secret: neither calls nor WebSockets. Health and metrics,
    /// where a listener shows them, stay open.
    #[must_use]
    pub fn authenticated(mut self, secret: JwtSecret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The service as [`Service::serve`] takes it.
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Serves `listener` until `stop` is cancelled and what was under way has ended: new sockets are refused at once,
    /// open requests may finish within [`Limits::stop_grace`], then everything is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, surface: Surface, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let router = routes::router(&self, surface, &tracker, &stop);
        let janitor = tokio::spawn(Arc::clone(&self.connections).watch(CancellationToken::new()));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => match self.connections.admit() {
                    Some(connection) => {
                        let serving = connect(stream, connection, router.clone(), Arc::clone(&self), stop.clone());
                        tracker.spawn(serving);
                    }
                    None => turn_away(&stream, &self.metrics),
                },
                Err(error) => {
                    tracing::warn!(%error, "a socket could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(listener);
        tracker.close();
        if tokio::time::timeout(self.limits.stop_grace, tracker.wait()).await.is_err() {
            self.connections.drop_all();
            let _ = tokio::time::timeout(DROP_GRACE, tracker.wait()).await;
        }
        janitor.abort();
    }
}

/// Tells a client that all places are taken, as far as the socket takes the words without waiting.
fn turn_away(stream: &TcpStream, metrics: &Metrics) {
    metrics.connections_dropped.inc();
    let _ = stream.try_write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

async fn connect(
    stream: TcpStream,
    connection: Connection,
    router: axum::Router,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let held = connection.clone();
    let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        held.serving();
        request.extensions_mut().insert(held.clone());
        let (router, held) = (router.clone(), held.clone());
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            // A WebSocket stays at work for as long as it lives.
            if response.status() != axum::http::StatusCode::SWITCHING_PROTOCOLS {
                held.served();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // The janitor tells a begun header from an idle connection; this is the second lock on the same door.
        .header_read_timeout(service.limits.header_timeout.max(service.limits.idle_timeout))
        .serve_connection(TokioIo::new(connection.watched(stream)), answer)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let dropped = connection.dropped();
    tokio::select! {
        ended = served.as_mut() => return log_end(ended),
        () = dropped.cancelled() => return,
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = served => log_end(ended),
        () = dropped.cancelled() => {}
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended");
    }
}
