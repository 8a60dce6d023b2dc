//! What a node says is on its disk first.
//!
//! Source: design of the heart, rule 2 and the rule on vows; R17 of the reliability goals ("record fsynced before the signature
//! leaves"). A solo node's block is durable before it is announced, a member's vow before it is sent.

use sequencer::{Effect, Record};
use types::{BlockHash, BlockRef, Vow};

use super::{Finding, Seen};
use crate::world::Mode;

/// What each node has on its disk.
#[derive(Clone, Debug)]
pub struct DurableBeforeVisible {
    disks: Vec<Disk>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    vow: Option<Vow>,
    payload: Option<BlockHash>,
    certified: BlockRef,
}

impl DurableBeforeVisible {
    /// For so many nodes with empty disks.
    pub fn of(nodes: usize) -> Self {
        Self { disks: vec![Disk::default(); nodes] }
    }

    /// Looks at everything that others can see.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let disk = &mut self.disks[seen.node];
        let vowed = |vow: Vow| {
            let kept = disk
                .vow
                .is_some_and(|kept| kept.slot == vow.slot && kept.block == vow.block && kept.stage >= vow.stage);
            if kept { Ok(()) } else { Err(format!("sends a vow for slot {} that is not on its disk", vow.slot)) }
        };
        match seen.effect {
            Effect::Persist(Record::Vow { vow, .. }) => {
                disk.vow = Some(*vow);
                Ok(())
            }
            Effect::Persist(Record::Payload(payload)) => {
                disk.payload = Some(payload.block.hash);
                Ok(())
            }
            Effect::Persist(Record::Certificate(certificate)) => {
                disk.certified = certificate.vow.block;
                Ok(())
            }
            Effect::Attest(attestation) => vowed(attestation.vow),
            Effect::Propose(proposal) => {
                vowed(Vow { slot: proposal.slot, stage: types::Stage::Endorse, block: proposal.payload.block })
            }
            Effect::Announce(announcement) => {
                let hash = Some(announcement.payload.block.hash);
                let durable = match seen.mode {
                    Mode::Solo | Mode::OnDemand | Mode::L1 => disk.payload == hash,
                    Mode::Conductor | Mode::Rollup => true,
                    Mode::Committee => {
                        let block = announcement.payload.block;
                        disk.certified == block || disk.certified.number > block.number
                    }
                };
                if durable { Ok(()) } else { Err("announces what is not on its disk".to_owned()) }
            }
            _ => Ok(()),
        }
    }
}
