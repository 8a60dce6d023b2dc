//! When blocks were seen, and what that comes to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::U64;
use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// A block that was announced as the newest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) number: u64,
    /// Seconds since the Unix epoch, as the block says.
    timestamp: u64,
    at: Instant,
    /// The machine's time then, in seconds since the Unix epoch.
    clock: f64,
}

/// What `eth_subscribe` tells of a head.
#[derive(Deserialize)]
struct Notification {
    params: Option<Params>,
}

#[derive(Deserialize)]
struct Params {
    result: Head,
}

#[derive(Deserialize)]
struct Head {
    number: U64,
    timestamp: U64,
}

/// Every head that an engine announces, from now on.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Vec<Sight>>>);

impl Watch {
    /// Subscribes to `newHeads` at this address of WebSockets.
    pub(crate) async fn start(url: &str) -> anyhow::Result<Self> {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.with_context(|| url.to_owned())?;
        let ask = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
        socket.send(Message::text(ask.to_string())).await?;
        match socket.next().await {
            Some(Ok(Message::Text(answer))) if answer.contains("\"result\"") => {}
            other => bail!("{url}: eth_subscribe was answered with {other:?}"),
        }
        let watch = Self(Arc::default());
        let seen = watch.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let (at, clock) = (Instant::now(), clock());
                let Message::Text(text) = message else { continue };
                let Ok(Notification { params: Some(Params { result }) }) = serde_json::from_str(&text) else {
                    continue;
                };
                seen.lock().push(Sight { number: result.number.to(), timestamp: result.timestamp.to(), at, clock });
            }
        });
        Ok(watch)
    }

    /// What was seen between two moments, and when the last head before them was.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> (Vec<Sight>, Option<Instant>) {
        let seen = self.lock();
        let before = seen.iter().rev().find(|sight| sight.at < from).map(|sight| sight.at);
        (seen.iter().filter(|sight| (from..to).contains(&sight.at)).copied().collect(), before)
    }

    /// How many heads were seen so far.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What a stretch of time comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// Heads that were announced.
    pub(crate) blocks: usize,
    /// Heads that are not right above the one before: another block at a height, or one that was not announced.
    pub(crate) out_of_line: usize,
    /// Seconds from a block's own time to its being announced, in order; below zero is early.
    pub(crate) late: Vec<f64>,
    /// The longest time without a new head, that before the first and after the last included.
    pub(crate) longest_gap: Duration,
}

impl Figures {
    /// Of the heads seen from `from` to `to`; the one before was seen at `before`.
    pub(crate) fn of(sights: &[Sight], before: Option<Instant>, from: Instant, to: Instant) -> Self {
        let mut late: Vec<f64> = sights.iter().map(|sight| sight.clock - sight.timestamp as f64).collect();
        late.sort_by(f64::total_cmp);
        let moments = std::iter::once(before.unwrap_or(from)).chain(sights.iter().map(|sight| sight.at));
        let moments: Vec<Instant> = moments.chain(std::iter::once(to)).collect();
        let longest = moments.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max();
        let out_of_line = sights.windows(2).filter(|pair| pair[1].number != pair[0].number + 1).count();
        Self { blocks: sights.len(), out_of_line, late, longest_gap: longest.unwrap_or_default() }
    }

    /// Within which lateness this part of the blocks was seen, in seconds.
    pub(crate) fn late_within(&self, part: f64) -> Option<f64> {
        let at = (self.late.len() as f64 * part).ceil() as usize;
        self.late.get(at.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a gap that is not seen because no block ends it, and percentiles that are off by one.
    #[test]
    fn the_longest_gap_may_be_at_either_end() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let sight = |number, millis: u64, late| Sight { number, timestamp: 10, at: after(millis), clock: 10.0 + late };
        let sights = [sight(4, 1_000, -0.05), sight(5, 2_000, 0.01), sight(7, 3_100, 0.2)];
        for (before, to, gap) in [(900, 3_200, 1_100), (100, 3_200, 1_100), (0, 5_000, 1_900)] {
            let figures = Figures::of(&sights, Some(after(before)), after(950), after(to));
            assert_eq!(figures.longest_gap, Duration::from_millis(gap));
            assert_eq!((figures.blocks, figures.out_of_line), (3, 1));
        }
        let figures = Figures::of(&sights, None, after(0), after(3_200));
        let rounded = |part| figures.late_within(part).map(|late| (late * 1_000.0).round());
        assert_eq!([rounded(0.0), rounded(0.5), rounded(0.99), rounded(1.0)], [-50.0, 10.0, 200.0, 200.0].map(Some));
        let nothing = Figures::of(&[], Some(after(0)), after(1_000), after(9_000));
        assert_eq!((nothing.longest_gap, nothing.late_within(0.5)), (Duration::from_secs(9), None));
    }
}
