//! L1 as the heart sees it: the blocks that it looks up, and the news that make it look again.

use alloy_primitives::B256;
use async_trait::async_trait;
use l1::{Epochs, L1View, News};
use node::{L1Origins, L1Unavailable};
use optimism::{BlockId, RollupConfig};
use sequencer::Event;
use sequencer::origin::{Lookup, OriginRules};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use types::{BlockHash, L1Block};

use crate::config::Node;
use crate::exit::{Exit, Failure};

/// News that may wait to be heard. When there is no room they wait, and what happens meanwhile is told at once.
pub(super) const NEWS_MAX: usize = 16;
/// The sequencer recovers by itself when so much of the sequencing window is left: one part in this many.
const WINDOW_PARTS_LEFT: u64 = 10;

/// How L1 blocks are chosen on this rollup.
///
/// # Errors
/// When it is told to recover before there is a window.
pub(super) fn rules(config: &RollupConfig, settings: &Node) -> Result<OriginRules, Failure> {
    let window = config.sequencing_window;
    Ok(OriginRules {
        drift: config.drift(),
        sequencing_window: window,
        recovers_before: recovers_before(window, settings.auto_recover)?,
        recovering: settings.recovering,
        max_safe_lag: settings.max_safe_lag,
    })
}

/// How many L1 blocks of the sequencing window are left when it recovers by itself: as many as was said, 0 never, and a part of the
/// window if nobody said.
///
/// By default it does: a block that cites an L1 block whose window is over is undone by derivation whatever anyone does, with all the
/// transactions in it that users were told of, and an empty one is what derivation makes in its place. While the chain keeps up with L1
/// it never comes to that, since a block may cite no L1 block that is older than the drift allows.
fn recovers_before(window: u64, said: Option<u64>) -> Result<Option<u64>, Failure> {
    match said {
        None => Ok(Some(window / WINDOW_PARTS_LEFT)),
        Some(0) => Ok(None),
        Some(left) if left < window => Ok(Some(left)),
        Some(left) => {
            let remedy = "use fewer, 0 to recover only when told, or --sequencer.recover to recover from the start";
            let text =
                format!("--sequencer.auto-recover={left}: the sequencing window has {window} L1 blocks: {remedy}");
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

/// Looks up L1 blocks.
#[derive(Debug)]
pub(super) struct Lookups {
    pub(super) epochs: Epochs,
    /// How deep below L1's head a block has to be before it is found by its height.
    pub(super) confirmations: u64,
}

#[async_trait]
impl L1Origins for Lookups {
    async fn look_up(&self, lookup: Lookup) -> Result<Option<L1Block>, L1Unavailable> {
        // Without a head nothing says how deep a block is.
        if matches!(lookup, Lookup::ByNumber(_)) && self.epochs.view().latest().is_none() {
            return Err(L1Unavailable { reason: "L1 has not told its newest block yet".to_owned() });
        }
        let unavailable = |error: l1::ReadError| L1Unavailable { reason: error.to_string() };
        let found = self.epochs.look_up(lookup, self.confirmations).await.map_err(unavailable)?;
        // Endpoints still know a block that L1 has left. To build on would be in vain, also before its height is deep enough again.
        let found = found.filter(|block| !has_left(&self.epochs.view(), block.origin.number, block.origin.hash));
        let (Some(next), Lookup::ByNumber(_)) = (found, lookup) else { return Ok(found) };
        // The first block that cites it needs its receipts. Once that block is ordered it cannot do without them, and the chain
        // would stand for as long as L1 keeps them back; until then it goes on with the L1 block that it cites already.
        let hash = B256::new(*next.origin.hash.as_bytes());
        Ok(self.epochs.receipts(hash).await.map_err(unavailable)?.map(|_| next))
    }
}

/// Is another block at this height of L1? What is above L1's head, or below what is known of it, counts as there.
pub(super) fn has_left(view: &L1View, number: u64, hash: BlockHash) -> bool {
    view.by_number(number).is_some_and(|header| header.hash().0 != *hash.as_bytes())
}

/// Tells the heart of every new head of L1 until it is told to stop.
pub(super) async fn tell_news(mut view: watch::Receiver<L1View>, heart: mpsc::Sender<Event>, stop: CancellationToken) {
    let mut seen = None;
    loop {
        let now = view.borrow_and_update().clone();
        let told = async {
            match news(&now, seen) {
                Some((event, head)) => heart.send(event).await.is_ok().then_some(head),
                None => seen,
            }
        };
        seen = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            head = told => head,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

/// What whoever saw this head last has to be told, and the head that he has seen then.
fn news(view: &L1View, seen: Option<BlockId>) -> Option<(Event, BlockId)> {
    let head = view.latest()?;
    let now = BlockId { number: head.number, hash: head.hash() };
    let since = seen.map(|seen| view.since(seen)).unwrap_or_default();
    // Where the link is lost nobody knows what was left.
    let reorganised = since.iter().any(|one| matches!(one, News::Reorged { .. } | News::Skipped { .. }));
    (seen != Some(now)).then_some((Event::L1Moved { head: now.number, reorganised }, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_begins_by_itself_unless_it_is_told_never_to() {
        let begins = |told| recovers_before(3_600, told);
        for (told, expected) in [(None, Some(360)), (Some(0), None), (Some(1), Some(1)), (Some(3_599), Some(3_599))] {
            assert_eq!(begins(told).unwrap(), expected, "{told:?}");
        }
        let failure = begins(Some(3_600)).unwrap_err();
        for word in ["--sequencer.auto-recover=3600", "3600 L1 blocks", "--sequencer.recover"] {
            assert!(failure.exit == Exit::Usage && failure.message.contains(word), "{failure:?}");
        }
    }
}
