//! What becomes of effects: calls that fail, are slow or unclear, and messages that are lost, late or doubled.

use sequencer::{Effect, Event, Peer, QueryId, Record, Sequencer};
use types::{Announcement, Attestation, BlockNumber, Failure, Millis, Payload, Proposal, Timestamp};

use super::{Item, LONGEST, MADE_MAX, Mode, SERVED_MAX, USUAL, World};
use crate::invariants::{Seen, Violation};

impl World {
    pub(super) fn perform(&mut self, place: usize, clock: Timestamp, effect: Effect) -> Result<(), Violation> {
        self.counts.effects += 1;
        self.happen_above(place, &effect)?;
        if !self.nodes[place].faulty {
            let seen = Seen {
                node: place,
                clock,
                effect: &effect,
                mode: self.mode,
                committee: self.committee,
                timetable: &self.timetable,
                truth: &self.truth,
                heads: self.nodes[place].heart.as_ref().map_or(self.nodes[place].backend.heads(), Sequencer::heads),
                l1: self.mode.cites_l1().then_some(&self.l1),
            };
            self.oracle.see(&seen)?;
        }
        match effect {
            Effect::Open { build, attributes } => self.call(
                place,
                |world| world.nodes[place].backend.open(build, attributes).map(|()| Event::Opened { build }),
                |failure| Event::OpenFailed { build, failure },
            ),
            Effect::Seal { build } => {
                self.call(place, |world| world.seal(place, build), |failure| Event::SealFailed { build, failure })
            }
            Effect::Cancel { build } => self.nodes[place].backend.cancel(build),
            Effect::Persist(record) => self.nodes[place].memory.remember(record),
            Effect::Commit(payload) => self.send_commit(place, payload),
            Effect::Propose(proposal) => self.propose(place, proposal),
            Effect::Attest(attestation) => self.attest(place, attestation),
            Effect::Announce(announcement) => self.announce(place, &announcement),
            Effect::Import(payload) => {
                let block = payload.block.hash;
                self.call(
                    place,
                    |world| Ok(Event::Imported { block, verdict: world.nodes[place].backend.import(&payload) }),
                    |failure| Event::ImportFailed { block, failure },
                );
            }
            Effect::SetHeads(heads) => {
                let block = heads.unsafe_head().hash;
                self.call(
                    place,
                    |world| {
                        world.nodes[place].backend.set_heads(heads, &mut world.dice).map(|()| Event::HeadsSet { block })
                    },
                    |failure| Event::SetHeadsFailed { block, failure },
                );
            }
            Effect::Publish(_) => {}
            Effect::Fetch { from, to } => self.fetch(place, from, to),
            Effect::AskHeads { query } => self.ask_heads(place, query),
            Effect::AskConductor { query } => self.call(
                place,
                |world| world.ask_conductor(place, query),
                |failure| Event::AskFailed { query, failure },
            ),
            Effect::AskOrigin { query, block } => self.call(
                place,
                |world| Ok(Event::OriginTold { query, origin: world.l1.cited_by(block.hash) }),
                |failure| Event::AskFailed { query, failure },
            ),
            Effect::LookUp { query, lookup } => self.call(
                place,
                |world| Ok(Event::L1Found { query, block: world.l1.look_up(lookup, &mut world.dice) }),
                |_| Event::LookUpFailed { query, failure: Failure::Retry },
            ),
            Effect::Penalize { .. } => self.counts.penalties += 1,
            Effect::Halt(_) => {}
        }
        Ok(())
    }

    /// What an effect makes true, however little anyone knows of it.
    fn happen_above(&mut self, place: usize, effect: &Effect) -> Result<(), Violation> {
        let decided = match effect {
            Effect::Persist(Record::Payload(payload)) => Announcement { payload: payload.clone(), certificate: None },
            Effect::Announce(announcement) if self.is_right_above(announcement) => announcement.clone(),
            Effect::Import(payload) => {
                let announcement = Announcement { payload: payload.clone(), certificate: None };
                if !self.is_right_above(&announcement) {
                    return Ok(());
                }
                announcement
            }
            Effect::Persist(Record::Certificate(certificate)) => {
                let Some(payload) = self.made.get(&certificate.vow.block.hash) else { return Ok(()) };
                Announcement { payload: payload.clone(), certificate: Some(certificate.clone()) }
            }
            Effect::Attest(attestation) => {
                self.truth.voted(attestation.member, attestation.vow);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if self.nodes[place].faulty {
            return Ok(());
        }
        self.truth.decide(decided).map_err(|what| Violation { invariant: "decided_per_height", node: place, what })
    }

    /// An outside call: does what it should or not, and answers in time, late, twice or with a failure.
    pub(super) fn call(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Self) -> Result<Event, Failure>,
        failed: impl Fn(Failure) -> Event,
    ) {
        if self.dice.happens(self.faults.failure) {
            self.counts.failed_calls += 1;
            return self.answer_in_time(place, failed(Failure::Retry));
        }
        if self.dice.happens(self.faults.reset) {
            self.counts.failed_calls += 1;
            self.nodes[place].backend.crash();
            return self.answer_in_time(place, failed(Failure::Reset));
        }
        let answer = act(self).unwrap_or_else(&failed);
        let is_order = !matches!(
            answer,
            Event::HeadsTold { .. }
                | Event::ConductorTold { .. }
                | Event::OriginTold { .. }
                | Event::L1Found { .. }
                | Event::AskFailed { .. }
        );
        if is_order && self.nodes[place].refuses_until > self.now {
            return self.answer_in_time(place, failed(Failure::Reset));
        }
        if self.dice.happens(self.faults.unclear) {
            self.counts.failed_calls += 1;
            self.answer_in_time(place, failed(Failure::Retry));
            if self.dice.happens(500) {
                self.answer_after(place, LONGEST, answer);
            }
            return;
        }
        self.answer_in_time(place, answer);
    }

    pub(super) fn answer_in_time(&mut self, place: usize, event: Event) {
        let longest = if self.dice.happens(self.faults.slowness) { LONGEST } else { *USUAL.end() };
        self.answer_after(place, longest, event);
    }

    fn answer_after(&mut self, place: usize, longest: u64, event: Event) {
        let wait = self.dice.within(&(*USUAL.start()..=longest));
        let run = self.nodes[place].run;
        self.agenda.plan(self.now.after(Millis::new(wait)), Item::Event { to: place, run, event: Box::new(event) });
    }

    fn seal(&mut self, place: usize, build: types::BuildId) -> Result<Event, Failure> {
        if self.dice.happens(self.faults.nothing_to_seal) {
            self.nodes[place].backend.cancel(build);
            return Ok(Event::NothingToSeal { build });
        }
        let payload = self.nodes[place].backend.seal(build, &mut self.dice)?;
        self.make(&payload);
        Ok(Event::Sealed { build, payload })
    }

    pub(super) fn make(&mut self, payload: &Payload) {
        let hash = payload.block.hash;
        if let Some(origin) = payload.origin {
            self.l1.cite(payload.block, origin);
        }
        if self.made.insert(hash, payload.clone()).is_none() {
            self.made_order.push_back(hash);
        }
        if self.made_order.len() > MADE_MAX
            && let Some(oldest) = self.made_order.pop_front()
        {
            self.made.remove(&oldest);
        }
    }

    fn send_commit(&mut self, from: usize, payload: Payload) {
        let answered = !self.dice.happens(self.faults.unclear);
        let block = payload.block.hash;
        if self.dice.happens(self.faults.failure) {
            return self.answer_in_time(from, Event::CommitFailed { block, failure: Failure::Retry });
        }
        if !answered {
            self.answer_after(from, LONGEST, Event::CommitFailed { block, failure: Failure::Retry });
        }
        let longest = if self.dice.happens(self.faults.slowness) { LONGEST } else { *USUAL.end() };
        let wait = Millis::new(self.dice.within(&(1..=longest)));
        let run = self.nodes[from].run;
        self.agenda.plan(self.now.after(wait), Item::Commit { from, run, payload, answered });
    }

    /// A payload reaches the conductor, even if its sender has died since.
    pub(super) fn commit(&mut self, from: usize, run: u32, payload: Payload, answered: bool) -> Result<(), Violation> {
        let block = payload.block.hash;
        let in_place = self.is_in_place(&payload);
        let answer = match self.conductor.commit(from, &payload, in_place) {
            Ok(grown) => {
                if grown {
                    if in_place {
                        self.truth.take_back(payload.block.number.as_u64() - 1);
                    }
                    let broken = |what| Violation { invariant: "decided_per_height", node: from, what };
                    self.truth.decide(Announcement { payload, certificate: None }).map_err(broken)?;
                }
                Event::Committed { block }
            }
            Err(failure) => Event::CommitFailed { block, failure },
        };
        if self.nodes[from].run == run && (answered || self.dice.happens(300)) {
            self.answer_in_time(from, answer);
        }
        Ok(())
    }

    /// Its newest block, but of those that L1 bears: what cites an L1 block that is no more counts for nothing.
    fn ask_conductor(&self, place: usize, query: QueryId) -> Result<Event, Failure> {
        let head = self.conductor.head(place)?;
        let head = if self.mode.cites_l1() { self.l1.borne(head) } else { head };
        Ok(Event::ConductorTold { query, head: Some(head) })
    }

    fn fetch(&mut self, place: usize, from: BlockNumber, to: BlockNumber) {
        self.counts.fetches += 1;
        let reach = match self.mode {
            Mode::Solo | Mode::OnDemand if self.nodes[place].follows && self.is_cut(0, place) => 0,
            Mode::Solo | Mode::OnDemand | Mode::L1 | Mode::Conductor | Mode::Rollup => self.truth.height(),
            Mode::Committee => {
                let server = self.draw_node();
                let reached = self.is_cut(server, place) || self.is_cut(place, server);
                let heart = self.nodes[server].heart.as_ref().filter(|_| !reached);
                heart.map_or(0, |heart| heart.heads().unsafe_head().number.as_u64())
            }
        };
        let last = to.as_u64().min(reach).min(from.as_u64() + SERVED_MAX - 1);
        let found = (from.as_u64()..=last).filter_map(|number| self.truth.decided(BlockNumber::new(number)).cloned());
        let found: Vec<Announcement> = found.collect();
        let found = if self.dice.happens(self.faults.failure) { Vec::new() } else { found };
        self.answer_in_time(place, Event::Fetched { from, to, found });
    }

    fn propose(&mut self, from: usize, proposal: Proposal) {
        if self.nodes[from].faulty && self.dice.happens(self.faults.malice) {
            return self.twist_proposal(from, &proposal);
        }
        for to in self.others(from) {
            self.send(from, to, |peer| Event::Proposed { peer, proposal: proposal.clone() });
        }
    }

    fn attest(&mut self, from: usize, attestation: Attestation) {
        let withholds = self.nodes[from].faulty && self.dice.happens(self.faults.malice);
        for to in self.others(from) {
            if !withholds || self.dice.happens(300) {
                self.send(from, to, |peer| Event::Attested { peer, attestation: attestation.clone() });
            }
        }
        let own = Event::Attested { peer: Peer::OURSELVES, attestation };
        self.answer_in_time(from, own);
    }

    fn announce(&mut self, from: usize, announcement: &Announcement) {
        if self.nodes[from].faulty && self.dice.happens(self.faults.malice) {
            return;
        }
        for to in self.others(from) {
            self.send(from, to, |peer| Event::Announced { peer, announcement: announcement.clone() });
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, event: impl Fn(Peer) -> Event) {
        if self.is_cut(from, to) || self.dice.happens(self.faults.loss) {
            self.counts.lost_messages += 1;
            return;
        }
        let copies = if self.dice.happens(self.faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let longest = if self.dice.happens(self.faults.delay) { LONGEST } else { *USUAL.end() };
            self.answer_after(to, longest, event(Peer::new(from as u64 + 1)));
        }
    }
}
