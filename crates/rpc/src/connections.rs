//! Every open socket, what it is doing, and since when: so that slow, silent and surplus ones can be closed.
//!
//! One table serves all listeners of a service. Sockets write their own state; a janitor reads it and cancels the ones
//! that overstay. A full table makes room by cancelling the socket that has waited longest without a request.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::metrics::Metrics;

/// How often the janitor looks; time-outs are met to within this.
const JANITOR_INTERVAL: Duration = Duration::from_millis(250);

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// New, or with a request begun whose headers are not complete.
    Header = 0,
    /// Between two requests, silent.
    Idle = 1,
    /// Serving a request, or a WebSocket.
    Busy = 2,
}

/// The table of open sockets.
pub(crate) struct Connections {
    open: Mutex<Table>,
    limits: Arc<Limits>,
    metrics: Metrics,
    born: Instant,
}

#[derive(Default)]
struct Table {
    next: u64,
    sockets: BTreeMap<u64, Arc<State>>,
}

/// One socket's state, written by its own task.
#[derive(Debug)]
struct State {
    phase: AtomicU8,
    since_ms: AtomicU64,
    /// When a write first found the peer not reading; 0 when writing goes through.
    blocked_ms: AtomicU64,
    dropped: CancellationToken,
    born: Instant,
}

/// A place in the table, held as long as the socket is open. Cloning shares the place.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Held>);

struct Held {
    id: u64,
    state: Arc<State>,
    table: Arc<Connections>,
}

impl Connections {
    pub(crate) fn new(limits: Arc<Limits>, metrics: Metrics) -> Self {
        // A second in the past, so that no moment of a socket's life is the 0 that stands for "not blocked".
        let born = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        Connections { open: Mutex::new(Table::default()), limits, metrics, born }
    }

    /// A place for a new socket; none when all are taken by sockets at work.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Connection> {
        let mut open = self.open.lock();
        if open.sockets.len() >= self.limits.connections_max {
            let waiting = open.sockets.iter().filter(|(_, state)| state.phase() != Phase::Busy);
            let longest = waiting.min_by_key(|(_, state)| state.since_ms.load(Ordering::Relaxed)).map(|(id, _)| *id);
            let evicted = open.sockets.remove(&longest?)?;
            self.drop_socket(&evicted);
        }
        let state = Arc::new(State::new(self.born));
        let id = open.next;
        open.next += 1;
        open.sockets.insert(id, Arc::clone(&state));
        self.metrics.connections.inc();
        Some(Connection(Arc::new(Held { id, state, table: Arc::clone(self) })))
    }

    /// Closes what overstays, until told to stop.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(JANITOR_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.sweep(),
            }
        }
    }

    fn sweep(&self) {
        let now_ms = since(self.born);
        let open = self.open.lock();
        for state in open.sockets.values() {
            if !state.dropped.is_cancelled() && state.overstays(now_ms, &self.limits) {
                self.drop_socket(state);
            }
        }
    }

    fn drop_socket(&self, state: &State) {
        self.metrics.connections_dropped.inc();
        state.dropped.cancel();
    }

    /// Closes every socket at once.
    pub(crate) fn drop_all(&self) {
        for state in self.open.lock().sockets.values() {
            state.dropped.cancel();
        }
    }
}

impl State {
    fn new(born: Instant) -> Self {
        State {
            phase: AtomicU8::new(Phase::Header as u8),
            since_ms: AtomicU64::new(since(born)),
            blocked_ms: AtomicU64::new(0),
            dropped: CancellationToken::new(),
            born,
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Header,
            1 => Phase::Idle,
            _ => Phase::Busy,
        }
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(since(self.born), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn overstays(&self, now_ms: u64, limits: &Limits) -> bool {
        let longer = |from: u64, limit: Duration| u128::from(now_ms.saturating_sub(from)) > limit.as_millis();
        let since = self.since_ms.load(Ordering::Relaxed);
        let blocked = self.blocked_ms.load(Ordering::Relaxed);
        let late = match self.phase() {
            Phase::Header => longer(since, limits.header_timeout),
            Phase::Idle => longer(since, limits.idle_timeout),
            Phase::Busy => false,
        };
        late || (blocked != 0 && longer(blocked, limits.write_timeout))
    }
}

fn since(born: Instant) -> u64 {
    u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Connection {
    /// The headers are complete; time is now up to the request.
    pub(crate) fn serving(&self) {
        self.0.state.enter(Phase::Busy);
    }

    /// The request is answered.
    pub(crate) fn served(&self) {
        self.0.state.enter(Phase::Idle);
    }

    /// Cancelled when the socket is to be closed without further ado.
    pub(crate) fn dropped(&self) -> &CancellationToken {
        &self.0.state.dropped
    }

    /// The stream, reporting here.
    pub(crate) fn watched<S>(&self, stream: S) -> Watched<S> {
        Watched { stream, state: Arc::clone(&self.0.state) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.table.open.lock().sockets.remove(&self.id);
        self.table.metrics.connections.dec();
    }
}

/// A stream that notes when a request begins and when the peer stops reading.
pub(crate) struct Watched<S> {
    stream: S,
    state: Arc<State>,
}

impl<S> Watched<S> {
    fn wrote<T>(&self, poll: Poll<T>) -> Poll<T> {
        let mark = match poll {
            Poll::Ready(_) => 0,
            Poll::Pending => since(self.state.born),
        };
        if mark == 0 || self.state.blocked_ms.load(Ordering::Relaxed) == 0 {
            self.state.blocked_ms.store(mark, Ordering::Relaxed);
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.state.phase() == Phase::Idle {
            self.state.enter(Phase::Header);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections_max: usize) -> Arc<Connections> {
        let limits = Limits { connections_max, ..Limits::default() };
        Arc::new(Connections::new(Arc::new(limits), Metrics::new()))
    }

    #[test]
    fn a_full_table_drops_the_longest_waiting_socket_never_a_busy_one() {
        let table = table(2);
        let busy = table.admit().unwrap();
        busy.serving();
        let silent = table.admit().unwrap();
        let third = table.admit().unwrap();
        assert!(silent.dropped().is_cancelled());
        assert!(!busy.dropped().is_cancelled());
        third.serving();
        assert!(table.admit().is_none(), "all places are taken by sockets at work");
        drop(busy);
        assert!(table.admit().is_some());
    }

    #[test]
    fn each_phase_has_its_own_patience() {
        let limits = Limits::default();
        let state = State::new(Instant::now());
        let table = [
            (Phase::Header, 0, 9_999, false),
            (Phase::Header, 0, 10_001, true),
            (Phase::Idle, 0, 10_001, false),
            (Phase::Idle, 0, 60_001, true),
            (Phase::Busy, 0, 1_000_000, false),
            (Phase::Busy, 5, 20_004, false),
            (Phase::Busy, 5, 20_006, true),
        ];
        for (phase, blocked_ms, now_ms, expected) in table {
            state.phase.store(phase as u8, Ordering::Relaxed);
            state.since_ms.store(0, Ordering::Relaxed);
            state.blocked_ms.store(blocked_ms, Ordering::Relaxed);
            assert_eq!(state.overstays(now_ms, &limits), expected, "{phase:?} blocked {blocked_ms} at {now_ms}");
        }
    }
}
