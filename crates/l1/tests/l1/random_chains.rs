//! The pure chain on random trees of headers, with answers in random order, late, doubled, or from an endpoint that
//! stands still.

use std::sync::Arc;

use alloy_primitives::B256;
use l1::{Chain, ChainConfig, EndpointId, Header, L1View, News, Objection, Outcome};
use optimism::BlockId;
use proptest::prelude::*;

use crate::world::{World, child, genesis, id};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// L1 grows by so many blocks.
    Extend(u64),
    /// So many blocks are left, and so many come in their place.
    Reorganise(usize, u64),
    /// Endpoint 0 or 1 tells the head.
    Tell(usize),
    /// Endpoint 2 tells some older head: which, counted from the newest.
    TellOld(usize),
    /// What is wanted is answered, so often.
    Answer(usize),
    /// An answer that nobody asked for.
    Unasked(usize),
    /// The second reader looks.
    Look,
    /// Endpoints 0 and 1 tell the final block: so far below the head.
    Finalize(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..6_u64).prop_map(Step::Extend),
        1 => (60..90_u64).prop_map(Step::Extend),
        3 => (1..6_usize, 1..8_u64).prop_map(|(depth, count)| Step::Reorganise(depth, count)),
        1 => (6..70_usize, 1..80_u64).prop_map(|(depth, count)| Step::Reorganise(depth, count)),
        6 => (0..2_usize).prop_map(Step::Tell),
        4 => (0..12_usize).prop_map(Step::TellOld),
        6 => (1..30_usize).prop_map(Step::Answer),
        1 => (0..40_usize).prop_map(Step::Unasked),
        2 => Just(Step::Look),
        1 => (70..90_u64).prop_map(Step::Finalize),
    ]
}

/// Someone who believes the news, and complains about news that do not fit together.
struct Reader {
    chain: Vec<BlockId>,
}

impl Reader {
    fn head(&self) -> BlockId {
        *self.chain.last().unwrap()
    }

    fn hear(&mut self, world: &World, news: &[News]) {
        let mut left: Option<(BlockId, BlockId)> = None;
        for news in news {
            match news {
                News::Advanced(header) => {
                    assert_eq!(header.parent_hash, self.head().hash, "a block was left out");
                    assert_eq!(header.number, self.head().number + 1);
                    self.chain.push(id(header));
                }
                News::Reorged { from, to, depth } => {
                    assert_eq!(*from, self.head());
                    assert_eq!(*depth, from.number - to.number);
                    assert!(*depth > 0);
                    self.chain.truncate(self.chain.len() - *depth as usize);
                    if let Some(head) = self.chain.last() {
                        assert_eq!(head, to);
                    } else {
                        self.chain.push(*to);
                    }
                    left = Some((*from, *to));
                }
                News::Skipped { from, to } => panic!("the link from {from} to {to} was lost"),
                News::Safe(_) | News::Finalized(_) => {}
            }
        }
        if let Some((from, to)) = left {
            assert_eq!(world.common_ancestor(from.hash, self.head().hash), to, "not the highest common ancestor");
        }
    }
}

struct Trial {
    world: World,
    /// Nothing up to this height is reorganised.
    final_at: u64,
    chain: Chain,
    reader: Reader,
    second: Reader,
}

impl Trial {
    fn new() -> Self {
        let world = World::new(1000, 100);
        let mut chain = Chain::new(ChainConfig { window: 512, look_back: 64, ..ChainConfig::default() });
        chain.hear_latest(EndpointId(0), Arc::clone(world.head()));
        let at = || Reader { chain: vec![id(world.head())] };
        let (reader, second) = (at(), at());
        let mut trial = Self { world, final_at: 0, chain, reader, second };
        // The look back, so that a reorganisation finds what it goes back to.
        trial.answer(usize::MAX);
        assert_eq!(trial.chain.view().lowest().map(|lowest| lowest.number), Some(1100 - 64));
        let below = |head: &Header, world: &World| {
            world.chain.iter().filter(|block| block.number <= head.number).map(|block| id(block)).collect::<Vec<_>>()
        };
        let known = below(trial.world.head(), &trial.world);
        trial.reader.chain.clone_from(&known);
        trial.second.chain = known;
        trial
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Extend(count) => self.world.extend(count.min(self.room_above())),
            Step::Reorganise(depth, count) => {
                self.world.reorganise(depth.min(self.room()), count.min(self.room_above().max(1)));
            }
            Step::Tell(endpoint) => self.tell(endpoint),
            Step::TellOld(back) => {
                let heads = &self.world.heads;
                let old = Arc::clone(&heads[heads.len().saturating_sub(1 + back)]);
                let outcome = self.chain.hear_latest(EndpointId(2), old);
                self.note(&outcome);
            }
            Step::Answer(times) => self.answer(times),
            Step::Unasked(back) => {
                let chain = &self.world.chain;
                let block = Arc::clone(&chain[chain.len().saturating_sub(1 + back)]);
                if self.chain.wanted().is_none_or(|wanted| wanted.hash != block.hash()) {
                    let before = self.chain.view().latest().map(|head| head.hash());
                    let outcome = self.chain.hear_block(block.hash(), Some(block));
                    assert_eq!(outcome, Outcome::default());
                    assert_eq!(self.chain.view().latest().map(|head| head.hash()), before);
                }
            }
            Step::Look => self.look(),
            Step::Finalize(below) => {
                let number = self.world.head().number.saturating_sub(below).max(self.final_at);
                if number >= self.lowest() {
                    self.final_at = number;
                    self.tell_final();
                }
            }
        }
        check_view(&self.chain.view());
    }

    fn lowest(&self) -> u64 {
        self.chain.view().lowest().unwrap().number
    }

    /// How many blocks L1 may run ahead without being out of reach.
    fn room_above(&self) -> u64 {
        let head = self.chain.view().latest().unwrap().number;
        (head + 400).saturating_sub(self.world.head().number)
    }

    /// How deep a reorganisation may be so that the final block and the lowest block kept stay.
    fn room(&self) -> usize {
        let stays = self.lowest().max(self.final_at);
        self.world.chain.iter().rev().take_while(|block| block.number > stays).count()
    }

    fn final_block(&self) -> Option<&Arc<Header>> {
        self.world.chain.iter().find(|block| block.number == self.final_at)
    }

    fn tell_final(&mut self) {
        let Some(block) = self.final_block().cloned() else { return };
        for endpoint in [EndpointId(0), EndpointId(1)] {
            let before = self.chain.view().finalized().map(|block| block.number);
            let outcome = self.chain.hear_finalized(endpoint, Some(Arc::clone(&block)));
            self.note(&outcome);
            assert!(self.chain.view().finalized().map(|block| block.number) >= before);
        }
    }

    fn tell(&mut self, endpoint: usize) {
        let outcome = self.chain.hear_latest(EndpointId(endpoint), Arc::clone(self.world.head()));
        self.note(&outcome);
    }

    fn answer(&mut self, times: usize) {
        for _ in 0..times {
            let Some(wanted) = self.chain.wanted() else { return };
            let block = Arc::clone(&self.world.all[&wanted.hash]);
            assert_eq!(block.number, wanted.number);
            let outcome = self.chain.hear_block(wanted.hash, Some(block));
            self.note(&outcome);
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        // Only the endpoint that stands still can be on a branch that finality has ended. And what is final is not on
        // the chain as long as the chain is on another branch.
        let fair = |(endpoint, objection): &(EndpointId, Objection)| match objection {
            Objection::LeavesOutFinalized { .. } => *endpoint == EndpointId(2),
            Objection::NotOnChain { .. } => true,
            Objection::Unlinked { .. } | Objection::Heights { .. } => false,
        };
        assert!(outcome.objections.iter().all(fair), "{:?}", outcome.objections);
        // A reader that looks too seldom is told so, elsewhere; this one looks just often enough.
        if self.world.head().number > 1500 && self.lowest() + 150 > self.second.head().number {
            self.look();
        }
        self.reader.hear(&self.world, &outcome.news);
        if let Some(head) = self.chain.view().latest() {
            assert_eq!(self.reader.head(), id(head));
        }
    }

    fn look(&mut self) {
        let news = self.chain.view().since(self.second.head());
        self.second.hear(&self.world, &news);
    }

    /// Two of three endpoints tell the truth; the third stands still. Eight rounds are enough for whatever has to be
    /// heard three times, also after the third has won once.
    fn settle(&mut self, stale: Option<&Arc<Header>>) {
        for _ in 0..8 {
            self.tell(0);
            self.answer(usize::MAX);
            if let Some(stale) = stale {
                let outcome = self.chain.hear_latest(EndpointId(2), Arc::clone(stale));
                self.note(&outcome);
                self.answer(usize::MAX);
            }
            self.tell(1);
            self.answer(usize::MAX);
        }
        self.tell_final();
    }
}

/// The look-ups of a view agree with each other.
fn check_view(view: &L1View) {
    let (head, lowest) = (view.latest().unwrap(), view.lowest().unwrap());
    let mut below: Option<&Arc<Header>> = None;
    for number in lowest.number..=head.number {
        let block = view.by_number(number).unwrap();
        assert_eq!(block.number, number);
        assert_eq!(view.by_hash(block.hash()).as_ref(), Some(block));
        assert!(view.is_canonical(&id(block)));
        if let Some(below) = below {
            assert_eq!(block.parent_hash, below.hash());
            assert_eq!(view.child_of(below.hash()), Some(block));
        }
        below = Some(block);
    }
    assert_eq!(view.child_of(head.hash()), None);
    assert_eq!(view.by_number(head.number + 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Guards against a wrong ancestor, a block left out, a step back to a branch that was left, and a head that is
    /// never reached.
    #[test]
    fn ends_at_the_right_head_and_every_block_is_told(
        steps in prop::collection::vec(step(), 1..60),
        stale in 0..20_usize,
    ) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.perform(step);
        }
        let heads = &trial.world.heads;
        let stale = Arc::clone(&heads[heads.len().saturating_sub(1 + stale)]);
        trial.settle(Some(&stale));
        prop_assert_eq!(trial.reader.head(), id(trial.world.head()));
        if trial.final_at > 0 {
            let view = trial.chain.view();
            prop_assert_eq!(view.finalized(), trial.final_block());
        }
        trial.look();
        prop_assert_eq!(trial.second.head(), id(trial.world.head()));
    }

    /// Whatever depth and whatever new length, one endpoint is enough.
    #[test]
    fn reorganisations_of_any_depth(depth in 1..65_usize, count in 1..130_u64) {
        let mut trial = Trial::new();
        // Everything but the reorganised part, so that depth 64 leaves the lowest block alone.
        trial.world.extend(1);
        trial.settle(None);
        let before = id(trial.world.head());
        trial.world.reorganise(depth, count);
        trial.settle(None);
        prop_assert_eq!(trial.reader.head(), id(trial.world.head()));
        let news = trial.chain.view().since(before);
        let ancestor = &trial.world.chain[trial.world.chain.len() - 1 - count as usize];
        let to = BlockId { number: before.number - depth as u64, hash: ancestor.hash() };
        let first = News::Reorged { from: before, to, depth: depth as u64 };
        prop_assert_eq!(&news[0], &first);
        prop_assert_eq!(news.len() as u64, 1 + count);
    }
}

fn told(chain: &mut Chain, endpoint: usize, head: &Arc<Header>) -> Outcome {
    chain.hear_latest(EndpointId(endpoint), Arc::clone(head))
}

fn answer_all(chain: &mut Chain, world: &World) -> Outcome {
    let mut all = Outcome::default();
    while let Some(wanted) = chain.wanted() {
        let outcome = chain.hear_block(wanted.hash, world.all.get(&wanted.hash).cloned());
        all.news.extend(outcome.news);
        all.objections.extend(outcome.objections);
    }
    all
}

/// A chain that knows `world`, of which endpoint 0 told.
fn knows(world: &World, config: ChainConfig) -> Chain {
    let mut chain = Chain::new(config);
    told(&mut chain, 0, world.head());
    answer_all(&mut chain, world);
    chain
}

fn head(chain: &Chain) -> B256 {
    chain.view().latest().unwrap().hash()
}

#[test]
fn an_endpoint_that_is_behind_never_moves_the_head_back() {
    let mut world = World::new(0, 50);
    let old = Arc::clone(&world.chain[45]);
    let mut chain = knows(&world, ChainConfig::default());
    for _ in 0..10 {
        assert_eq!(told(&mut chain, 1, &old), Outcome::default());
    }
    assert_eq!(head(&chain), world.head().hash());
    // Also on a branch that was left, as long as another endpoint holds to the chain.
    let left = Arc::clone(world.head());
    world.reorganise(3, 4);
    told(&mut chain, 0, world.head());
    answer_all(&mut chain, &world);
    for _ in 0..10 {
        assert_eq!(told(&mut chain, 1, &left), Outcome::default());
        assert_eq!(chain.wanted(), None);
    }
    assert_eq!(head(&chain), world.head().hash());
}

#[test]
fn a_lower_head_counts_once_heard_three_times_and_not_before() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    world.reorganise(6, 2);
    assert_eq!(told(&mut chain, 0, world.head()), Outcome::default());
    assert_eq!(told(&mut chain, 0, world.head()), Outcome::default());
    assert_eq!(chain.wanted(), None);
    told(&mut chain, 0, world.head());
    let outcome = answer_all(&mut chain, &world);
    assert!(matches!(outcome.news[0], News::Reorged { depth: 6, .. }), "{outcome:?}");
    assert_eq!(head(&chain), world.head().hash());
}

#[test]
fn an_endpoint_that_falls_silent_vouches_for_nothing() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    world.reorganise(6, 2);
    for _ in 0..5 {
        told(&mut chain, 1, world.head());
    }
    assert_eq!(chain.wanted(), None, "endpoint 0 holds to the chain, and one against one is no majority");
    chain.hear_nothing(EndpointId(0));
    // That one endpoint has said it often does not help another that says it for the first time.
    told(&mut chain, 2, world.head());
    assert_eq!(chain.wanted(), None);
    told(&mut chain, 1, world.head());
    answer_all(&mut chain, &world);
    assert_eq!(head(&chain), world.head().hash());
}

#[test]
fn a_chain_without_the_finalized_block_is_refused() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    let honest = world.clone();
    let finalized = Arc::clone(&world.chain[40]);
    let outcome = chain.hear_finalized(EndpointId(0), Some(Arc::clone(&finalized)));
    assert_eq!(outcome.news, [News::Finalized(Arc::clone(&finalized))]);
    world.reorganise(11, 20);
    told(&mut chain, 1, world.head());
    let outcome = answer_all(&mut chain, &world);
    assert_eq!(chain.wanted(), None);
    let objection = Objection::LeavesOutFinalized { head: id(world.head()), finalized: id(&finalized) };
    assert_eq!(outcome.objections, [(EndpointId(1), objection)]);
    assert_eq!(head(&chain), honest.head().hash());
    // One that leaves only what is above it is followed.
    let mut world = honest;
    world.reorganise(10, 20);
    told(&mut chain, 1, world.head());
    assert_eq!(answer_all(&mut chain, &world).objections, []);
    assert_eq!(head(&chain), world.head().hash());
    assert_eq!(chain.view().finalized().map(|block| block.hash()), Some(finalized.hash()));
}

#[test]
fn a_head_whose_parents_nobody_has_is_refused_and_blocks_nobody() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    let stranger = Arc::new(child(&child(&genesis(70), 1), 2));
    assert_eq!(told(&mut chain, 1, &stranger), Outcome::default());
    // While it is being looked into, the chain goes on.
    world.extend(1);
    let outcome = told(&mut chain, 0, world.head());
    assert_eq!(outcome.news, [News::Advanced(Arc::clone(world.head()))]);
    world.extend(3);
    told(&mut chain, 0, world.head());
    let outcome = answer_all(&mut chain, &world);
    let objection = Objection::Unlinked { head: id(&stranger), missing: stranger.parent_hash };
    assert_eq!(outcome.objections, [(EndpointId(1), objection)]);
    assert_eq!(outcome.news.len(), 3);
    assert_eq!(head(&chain), world.head().hash());
}

#[test]
fn a_head_of_a_branch_that_was_overtaken_while_it_was_looked_into_is_dropped() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    let mut other = world.clone();
    other.reorganise(2, 2);
    told(&mut chain, 1, other.head());
    let wanted = chain.wanted().expect("the other branch has to be linked");
    for _ in 0..2 {
        world.extend(1);
        told(&mut chain, 0, world.head());
    }
    let block = other.all[&wanted.hash].clone();
    assert_eq!(chain.hear_block(wanted.hash, Some(block)), Outcome::default());
    assert_eq!(head(&chain), world.head().hash());
    assert_eq!(chain.wanted(), None);
}

#[test]
fn a_parent_of_another_height_is_refused() {
    let world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    let crooked = Header::new(alloy_consensus::Header {
        number: 52,
        parent_hash: world.head().hash(),
        ..alloy_consensus::Header::default()
    });
    let outcome = told(&mut chain, 1, &Arc::new(crooked.clone()));
    assert_eq!(outcome.objections, [(EndpointId(1), Objection::Heights { head: id(&crooked), parent: 50 })]);
}

#[test]
fn safe_and_finalized_wait_for_the_chain_and_never_go_back() {
    let mut world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    world.extend(10);
    // Ahead of the head: it counts when the head gets there.
    let (safe, finalized) = (Arc::clone(&world.chain[55]), Arc::clone(&world.chain[52]));
    assert_eq!(chain.hear_safe(EndpointId(0), Some(Arc::clone(&safe))), Outcome::default());
    assert_eq!(chain.hear_finalized(EndpointId(0), Some(Arc::clone(&finalized))), Outcome::default());
    assert_eq!(chain.view().safe(), None);
    told(&mut chain, 0, world.head());
    answer_all(&mut chain, &world);
    assert_eq!(chain.view().safe(), Some(&safe));
    assert_eq!(chain.view().finalized(), Some(&finalized));
    let older = Arc::clone(&world.chain[51]);
    assert_eq!(chain.hear_finalized(EndpointId(1), Some(older)), Outcome::default());
    assert_eq!(chain.view().finalized(), Some(&finalized));
    // One of another branch is refused.
    let other = Arc::new(child(&world.chain[55], 999));
    let outcome = chain.hear_safe(EndpointId(1), Some(Arc::clone(&other)));
    assert!(matches!(outcome.objections[..], [(EndpointId(1), Objection::NotOnChain { label: "safe", .. })]));
    // A reorganisation takes the safe block down to the common ancestor.
    world.reorganise(7, 9);
    told(&mut chain, 0, world.head());
    answer_all(&mut chain, &world);
    assert_eq!(chain.view().safe().map(|block| block.number), Some(53));
}

#[test]
fn one_endpoint_alone_makes_nothing_final_where_another_could_say_it_too() {
    let world = World::new(0, 50);
    let mut chain = knows(&world, ChainConfig::default());
    told(&mut chain, 1, world.head());
    let (high, low) = (Arc::clone(&world.chain[50]), Arc::clone(&world.chain[30]));
    assert_eq!(chain.hear_finalized(EndpointId(0), Some(Arc::clone(&high))), Outcome::default());
    let outcome = chain.hear_finalized(EndpointId(1), Some(Arc::clone(&low)));
    assert_eq!(outcome.news, [News::Finalized(low)]);
    // One that does not know, or does not answer any more, is not waited for.
    let outcome = chain.hear_finalized(EndpointId(1), None);
    assert_eq!(outcome.news, [News::Finalized(Arc::clone(&high))]);
    let mut chain = knows(&world, ChainConfig::default());
    told(&mut chain, 1, world.head());
    chain.hear_nothing(EndpointId(1));
    let outcome = chain.hear_finalized(EndpointId(0), Some(Arc::clone(&high)));
    assert_eq!(outcome.news, [News::Finalized(high)]);
}

#[test]
fn a_head_too_far_above_is_skipped_to_once_heard_three_times() {
    let mut world = World::new(0, 50);
    let config = ChainConfig { window: 100, ..ChainConfig::default() };
    let mut chain = knows(&world, config);
    let from = id(world.head());
    world.extend(101);
    for _ in 0..2 {
        assert_eq!(told(&mut chain, 0, world.head()), Outcome::default());
    }
    let outcome = told(&mut chain, 0, world.head());
    assert_eq!(outcome.news, [News::Skipped { from, to: id(world.head()) }]);
    answer_all(&mut chain, &world);
    assert_eq!(chain.view().since(from), [News::Skipped { from, to: id(world.head()) }]);
    // Within the window every block is told.
    world.extend(100);
    told(&mut chain, 0, world.head());
    assert_eq!(answer_all(&mut chain, &world).news.len(), 100);
    check_view(&chain.view());
    assert_eq!(chain.view().lowest().map(|block| block.number), Some(251 - 99));
}

#[test]
fn a_lying_first_head_is_left_for_that_of_the_majority() {
    for absurd in [3, u64::MAX] {
        let world = World::new(10_000, 50);
        let mut chain = Chain::new(ChainConfig::default());
        let lie = Arc::new(genesis(absurd));
        told(&mut chain, 0, &lie);
        for _ in 0..3 {
            told(&mut chain, 0, &lie);
            told(&mut chain, 1, world.head());
            told(&mut chain, 2, world.head());
        }
        assert_eq!(head(&chain), world.head().hash(), "after a first head at {absurd}");
    }
}

#[test]
fn bytes_are_bounded_too() {
    let mut world = World::new(0, 10);
    let mut chain = knows(&world, ChainConfig { bytes_max: 20_000, ..ChainConfig::default() });
    world.extend(200);
    told(&mut chain, 0, world.head());
    answer_all(&mut chain, &world);
    check_view(&chain.view());
    let kept = chain.view().latest().unwrap().number - chain.view().lowest().unwrap().number + 1;
    assert!((10..40).contains(&kept), "{kept} headers in 20,000 bytes");
}
