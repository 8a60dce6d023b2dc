//! Signals: the first asks for an end, the second takes it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, as shells give it for an interrupted command.
const EXIT_FORCED: i32 = 130;

/// Cancels `stop` at the first SIGINT or SIGTERM and ends the process at the second. Nothing needs a gentle end: what
/// was acknowledged is on disk.
pub(super) fn on_signals(stop: CancellationToken) {
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "signals cannot be heard: only kill -9 will end this process");
            return;
        }
    };
    tokio::spawn(async move {
        let first = either(&mut interrupt, &mut terminate).await;
        tracing::info!(signal = first, "stopping; the same again ends it at once");
        stop.cancel();
        either(&mut interrupt, &mut terminate).await;
        tracing::warn!("ended at once, as asked");
        std::process::exit(EXIT_FORCED);
    });
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
