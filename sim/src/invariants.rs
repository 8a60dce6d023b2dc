//! What must hold after every single effect, one file each.

pub mod block_per_demand;
pub mod certificate_per_slot;
pub mod cites_l1;
pub mod deadline_ahead;
pub mod decided_before_visible;
pub mod decided_per_height;
pub mod durable_before_visible;
pub mod heads_in_order;
pub mod identical_retry;
pub mod leads_when_entitled;
pub mod never_halts;
pub mod no_block_for_the_past;
pub mod no_busy_loop;
pub mod no_second_vow;
pub mod one_build;
pub mod parent_certificate;
pub mod seal_lead;

use sequencer::{Effect, Event, Timetable};
use types::{Committee, Heads, Timestamp};

use crate::l1::L1;
use crate::truth::Truth;
use crate::world::Mode;

/// One effect of an honest node, at the moment at which it is performed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which node.
    pub node: usize,
    /// By its own clock.
    pub clock: Timestamp,
    /// The effect.
    pub effect: &'a Effect,
    /// How the nodes agree.
    pub mode: Mode,
    /// Who agrees, in a committee.
    pub committee: Committee,
    /// When slots are.
    pub timetable: &'a Timetable,
    /// What really happened so far.
    pub truth: &'a Truth,
    /// Where the node's heart stands.
    pub heads: Heads,
    /// The chain below, where one is cited.
    pub(crate) l1: Option<&'a L1>,
}

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The file under `invariants/` that says what should be.
    pub invariant: &'static str,
    /// The node.
    pub node: usize,
    /// What was seen instead.
    pub what: String,
}

/// What an invariant says to one effect: nothing, or what is wrong.
pub type Finding = Result<(), String>;

/// Slots, or heights, for which an invariant remembers what it saw.
pub(crate) const KEPT: usize = 4096;

/// All invariants over one run.
#[derive(Clone, Debug)]
pub struct Oracle {
    block_per_demand: block_per_demand::BlockPerDemand,
    certificate_per_slot: certificate_per_slot::CertificatePerSlot,
    cites_l1: cites_l1::CitesL1,
    durable_before_visible: durable_before_visible::DurableBeforeVisible,
    heads_in_order: heads_in_order::HeadsInOrder,
    identical_retry: identical_retry::IdenticalRetry,
    leads_when_entitled: leads_when_entitled::LeadsWhenEntitled,
    no_block_for_the_past: no_block_for_the_past::NoBlockForThePast,
    no_busy_loop: no_busy_loop::NoBusyLoop,
    no_second_vow: no_second_vow::NoSecondVow,
    one_build: one_build::OneBuild,
    seal_lead: seal_lead::SealLead,
}

impl Oracle {
    /// For so many nodes.
    pub fn of(nodes: usize, mode: Mode) -> Self {
        Self {
            block_per_demand: block_per_demand::BlockPerDemand::of(nodes),
            certificate_per_slot: certificate_per_slot::CertificatePerSlot::default(),
            cites_l1: cites_l1::CitesL1::of(nodes),
            durable_before_visible: durable_before_visible::DurableBeforeVisible::of(nodes),
            heads_in_order: heads_in_order::HeadsInOrder::of(nodes),
            identical_retry: identical_retry::IdenticalRetry::of(nodes),
            leads_when_entitled: leads_when_entitled::LeadsWhenEntitled::of(nodes, mode),
            no_block_for_the_past: no_block_for_the_past::NoBlockForThePast::of(nodes),
            no_busy_loop: no_busy_loop::NoBusyLoop::of(nodes),
            no_second_vow: no_second_vow::NoSecondVow::of(nodes),
            one_build: one_build::OneBuild::of(nodes),
            seal_lead: seal_lead::SealLead::of(nodes),
        }
    }

    /// An event is about to be heard, at this time of the node's own clock.
    pub fn hear(&mut self, node: usize, clock: Timestamp, event: &Event) {
        self.block_per_demand.hear(node, event);
        self.cites_l1.hear(node, event);
        self.heads_in_order.hear(node, event);
        self.leads_when_entitled.hear(node, event);
        self.one_build.hear(node, event);
        self.seal_lead.hear(node, clock, event);
    }

    /// A node starts again.
    pub fn restarted(&mut self, node: usize) {
        self.block_per_demand.restarted(node);
        self.cites_l1.restarted(node);
        self.heads_in_order.restarted(node);
        self.identical_retry.restarted(node);
        self.leads_when_entitled.restarted(node);
        self.no_block_for_the_past.restarted(node);
        self.one_build.restarted(node);
        self.seal_lead.restarted(node);
    }

    /// A step is over, and the node says how many demands it has answered.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn answered(&self, node: usize, served: u64) -> Result<(), Violation> {
        let broken = |what| Violation { invariant: "block_per_demand", node, what };
        self.block_per_demand.answered(node, served).map_err(broken)
    }

    /// The chain was derived anew from L1: what was decided above is gone.
    pub fn taken_back(&mut self, node: usize) {
        self.identical_retry.taken_back(node);
    }

    /// Has the node answered every demand, if it has answered so many?
    pub fn is_level(&self, node: usize, served: u64) -> bool {
        self.block_per_demand.is_level(node, served)
    }

    /// An effect is about to be performed.
    ///
    /// # Errors
    /// The first invariant that it breaks.
    pub fn see(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let broken = |invariant: &'static str| move |what: String| Violation { invariant, node: seen.node, what };
        self.block_per_demand.see(seen).map_err(broken("block_per_demand"))?;
        self.certificate_per_slot.see(seen).map_err(broken("certificate_per_slot"))?;
        self.cites_l1.see(seen).map_err(broken("cites_l1"))?;
        self.durable_before_visible.see(seen).map_err(broken("durable_before_visible"))?;
        decided_before_visible::see(seen).map_err(broken("decided_before_visible"))?;
        decided_per_height::see(seen).map_err(broken("decided_per_height"))?;
        self.heads_in_order.see(seen).map_err(broken("heads_in_order"))?;
        self.identical_retry.see(seen).map_err(broken("identical_retry"))?;
        self.leads_when_entitled.see(seen).map_err(broken("leads_when_entitled"))?;
        never_halts::see(seen).map_err(broken("never_halts"))?;
        self.no_block_for_the_past.see(seen).map_err(broken("no_block_for_the_past"))?;
        self.no_busy_loop.see(seen).map_err(broken("no_busy_loop"))?;
        self.no_second_vow.see(seen).map_err(broken("no_second_vow"))?;
        self.one_build.see(seen).map_err(broken("one_build"))?;
        parent_certificate::see(seen).map_err(broken("parent_certificate"))?;
        self.seal_lead.see(seen).map_err(broken("seal_lead"))
    }
}
