//! Threads with the stack that contracts need: their calls of one another nest on it.

use blockifier::blockifier::transaction_executor::DEFAULT_STACK_SIZE;

/// Runs `work` on a thread of its own. `None` when there is no thread to be had, or when the work ended by panic; both
/// are in the log.
pub(crate) async fn deep_thread<T, F>(name: &str, work: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (done, result) = tokio::sync::oneshot::channel();
    let run = move || {
        // Nobody waits any more when the caller has gone.
        let _ = done.send(work());
    };
    let started = std::thread::Builder::new().name(name.to_owned()).stack_size(DEFAULT_STACK_SIZE).spawn(run);
    if let Err(error) = started {
        tracing::error!(%error, name, "no thread to execute on");
        return None;
    }
    let result = result.await.ok();
    if result.is_none() {
        tracing::error!(name, "an execution ended by panic");
    }
    result
}
