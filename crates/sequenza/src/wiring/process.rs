//! What every chain's process has: signals, sockets, tasks under supervision, metrics, and an end with a reason.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use node::Supervisor;
use prometheus_client::registry::Registry;
use rpc::{Cors, Health, JwtSecret, Limits, SecretError, Service, Surface};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::listen::{Listening, listen};
use super::{folder, stop};
use crate::banner::Places;
use crate::config::Endpoints;
use crate::exit::{Exit, Failure};

/// A process that is about to serve a chain.
pub(super) struct Process {
    pub(super) supervisor: Supervisor,
    pub(super) registry: Registry,
    sockets: Sockets,
    websocket_on_http: bool,
}

/// Health that is told while a process starts.
pub(super) struct Telling {
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Telling {
    /// Ends it; the sockets stay open, so that nobody is turned away meanwhile.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.serving.join_all().await;
    }
}

/// Every socket that the settings ask for.
struct Sockets {
    http: Option<Listening>,
    websocket: Option<Listening>,
    metrics: Option<Listening>,
}

impl Process {
    /// Hears signals and opens the sockets: first of all, so that a signal during the start ends it as cleanly as a later one, and a port
    /// in use, the most common fault, is found before anything is opened.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub(super) async fn begin(endpoints: &Endpoints) -> Result<Self, Failure> {
        let supervisor = Supervisor::new();
        stop::on_signals(supervisor.stop());
        Self::under(supervisor, endpoints).await
    }

    /// The same inside another program, to which the signals belong.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub(super) async fn inside(endpoints: &Endpoints) -> Result<Self, Failure> {
        Self::under(Supervisor::new(), endpoints).await
    }

    async fn under(supervisor: Supervisor, endpoints: &Endpoints) -> Result<Self, Failure> {
        let sockets = Sockets::open(endpoints).await?;
        let registry = Registry::with_prefix("sequenza");
        Ok(Process { supervisor, registry, sockets, websocket_on_http: endpoints.websocket_on_http })
    }

    /// Where it can be reached, for the banner; WebSockets at this path.
    pub(super) fn places(&self, websocket_path: &str) -> Places {
        let Sockets { http, websocket, metrics } = &self.sockets;
        let url = |socket: &Option<Listening>, scheme: &str, path: &str| {
            socket.as_ref().map(|socket: &Listening| -> String {
                let address: SocketAddr = socket.reached_at();
                format!("{scheme}://{address}{path}")
            })
        };
        let on_http = self.websocket_on_http.then(|| url(http, "ws", websocket_path)).flatten();
        let watched = if http.is_some() { http } else { metrics };
        Places {
            http: url(http, "http", ""),
            websocket: url(websocket, "ws", websocket_path).or(on_http),
            health: url(watched, "http", "/readyz"),
            metrics: url(if metrics.is_some() { metrics } else { watched }, "http", "/metrics"),
            exposed: self.sockets.exposed(),
        }
    }

    /// The transport with everything but the chain's methods. Metrics entered later are not shown.
    pub(super) fn service(
        &mut self,
        limits: &rpc::Limits,
        cors_any: bool,
        greeting: String,
        health: Health,
    ) -> Service {
        let service = Service::new(limits.clone());
        service.register_metrics(&mut self.registry);
        let registry = std::mem::take(&mut self.registry);
        let cors = if cors_any { Cors::Any } else { Cors::Off };
        service.health(health).registry(Arc::new(registry)).cors(cors).greeting(greeting)
    }

    /// Serves a socket of its own until the process stops.
    pub(super) fn serve(&mut self, name: &'static str, service: Arc<Service>, socket: Listening, surface: Surface) {
        let stop = self.supervisor.stop();
        self.supervisor.spawn(name, async move {
            service.serve(socket.listener, surface, stop).await;
            Ok(())
        });
    }

    /// Answers health, and nothing else, on every socket until what is returned ends: whoever starts for long says why.
    ///
    /// # Errors
    /// When the system gives no more file descriptors.
    pub(super) fn tell_health(&self, health: Health) -> Result<Telling, Failure> {
        let service = Service::new(Limits::default()).health(health).shared();
        let (stop, mut serving) = (self.supervisor.stop().child_token(), JoinSet::new());
        let surface = Surface { http: false, websocket: false, health: true, metrics: false };
        let Sockets { http, websocket: _, metrics } = &self.sockets;
        for socket in [http, metrics].into_iter().flatten() {
            let listener =
                socket.twin().map_err(|error| Failure::new(Exit::RunTime, format!("cannot tell health: {error}")))?;
            serving.spawn(Arc::clone(&service).serve(listener, surface, stop.clone()));
        }
        Ok(Telling { stop, serving })
    }

    /// Says the banner, serves the sockets and stays until something ends the process.
    ///
    /// # Errors
    /// When what ended it was not a signal.
    pub(super) async fn run(mut self, banner: &str, service: Service) -> Result<(), Failure> {
        // Who closed stdout does not want the banner; the chain runs all the same.
        let _ = std::io::stdout().write_all(banner.as_bytes());
        let service = service.shared();
        let on_http = Surface { websocket: self.websocket_on_http, ..Surface::ALL };
        let Sockets { http, websocket, metrics } =
            std::mem::replace(&mut self.sockets, Sockets { http: None, websocket: None, metrics: None });
        let served = [
            ("http", http, on_http),
            ("websocket", websocket, Surface::WEBSOCKET),
            ("metrics", metrics, Surface::METRICS),
        ];
        for (name, socket, surface) in served {
            if let Some(socket) = socket {
                self.serve(name, Arc::clone(&service), socket, surface);
            }
        }
        let ended = self.supervisor.run(CancellationToken::new()).await;
        if ended.is_clean() {
            tracing::info!("stopped");
            return Ok(());
        }
        Err(Failure::new(folder::exit_of(&ended.to_string()), ended))
    }
}

/// The secret whose tokens callers of a port must have, out of the file that this flag names.
///
/// # Errors
/// When it cannot be read, or holds no secret.
pub(super) fn callers_secret(flag: &str, path: &Path) -> Result<JwtSecret, Failure> {
    JwtSecret::from_file(path).map_err(|error| {
        let exit = if matches!(error, SecretError::Unreadable { .. }) { Exit::Permission } else { Exit::BadData };
        Failure::new(exit, format!("--{flag}={}: {error}", path.display()))
    })
}

/// Runs what waits for the disk where waiting harms nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Exit::Internal, format!("starting up failed in an unforeseen way: {error}"))),
    }
}

impl Sockets {
    async fn open(endpoints: &Endpoints) -> Result<Self, Failure> {
        let mut opened = [None, None, None];
        let places = [&endpoints.http, &endpoints.websocket, &endpoints.metrics];
        for (opened, place) in opened.iter_mut().zip(places) {
            if let Some(place) = place {
                *opened = Some(listen(place).await?);
            }
        }
        let [http, websocket, metrics] = opened;
        Ok(Sockets { http, websocket, metrics })
    }

    /// Addresses that others on the network can reach and that take transactions.
    fn exposed(&self) -> Vec<String> {
        let open = [&self.http, &self.websocket].into_iter().flatten().filter(|socket| socket.is_exposed());
        open.map(|socket| socket.address.to_string()).collect()
    }
}
