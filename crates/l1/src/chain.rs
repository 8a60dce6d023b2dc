//! L1's chain as it is heard, block by block and through every reorganisation. Pure: it is told answers and says what
//! to ask.
//!
//! A head counts only once it is linked, parent hash by parent hash, to a block that counts already; the blocks
//! between are asked for one by one, so none is skipped. What is not a step forward is doubted: a block on the chain
//! below its head is a late answer; a head that is lower, or on a branch that was left, or too far away to be linked,
//! has to be heard several times in a row, by more endpoints than still hold to the known chain. A head whose chain
//! leaves out the finalized block is refused, and so is one whose parents nobody has.
//!
//! Headers prove their order and nothing more: who votes for them is not checked here. An endpoint that lies with
//! headers which it made itself can show a false branch above the finalized block. Several endpoints make that
//! visible, and finality ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use optimism::BlockId;

use crate::verify::Header;
use crate::view::{Branches, L1View, News};

/// Bytes of a header in memory beside its extra data.
const HEADER_BYTES: usize = size_of::<Header>() + 64;

/// How much of L1 is kept, and what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// Headers kept, newest first, and the deepest reorganisation that is followed. Default 4096: 13 hours of Ethereum.
    pub window: usize,
    /// Bytes of headers kept. Default 16 MiB.
    pub bytes_max: usize,
    /// Headers asked for below the first head, so that an early reorganisation is seen. Default 64.
    pub look_back: u64,
    /// How often in a row a doubtful head has to be heard. Default 3.
    pub repeats: u32,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self { window: 4096, bytes_max: 16 << 20, look_back: 64, repeats: 3 }
    }
}

/// Which endpoint: its place in the configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub usize);

/// A claim that cannot be followed. It counts against the endpoint that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Final blocks are on every chain that is built on. If every endpoint says so, L1 itself has failed, or the
    /// endpoints serve another chain than before.
    #[error("head {head} is on a chain without {finalized}, which is final")]
    LeavesOutFinalized {
        /// What is claimed.
        head: BlockId,
        /// What is final.
        finalized: BlockId,
    },
    /// No endpoint has the block below.
    #[error("head {head} cannot be linked: nobody has its ancestor {missing}")]
    Unlinked {
        /// What is claimed.
        head: BlockId,
        /// What nobody has.
        missing: B256,
    },
    /// A parent has the height below.
    #[error("head {head} is on a block of height {parent}, which is not the height below")]
    Heights {
        /// The block whose parent it is.
        head: BlockId,
        /// The parent's height.
        parent: u64,
    },
    /// What is called final, or safe, is not on the chain of the head.
    #[error("{label} block {claimed} is not on the chain of head {head}")]
    NotOnChain {
        /// "safe" or "finalized".
        label: &'static str,
        /// What is claimed.
        claimed: BlockId,
        /// The head.
        head: BlockId,
    },
}

/// What to ask for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The block.
    pub hash: B256,
    /// Its height, if the endpoints are honest.
    pub number: u64,
    /// How many heights below it will probably be asked for after it.
    pub more: u64,
    /// Whose head it leads to: that endpoint must have it.
    pub from: Option<EndpointId>,
}

/// What came of something heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What changed, in order.
    pub news: Vec<News>,
    /// What was refused.
    pub objections: Vec<(EndpointId, Objection)>,
}

/// L1's chain.
#[derive(Clone, Debug)]
pub struct Chain {
    config: ChainConfig,
    branches: Arc<Branches>,
    bytes: usize,
    safe: Label,
    finalized: Label,
    /// The head that is being linked.
    walk: Option<Walk>,
    /// Heads that wait to be linked: the last of each endpoint.
    waiting: BTreeMap<EndpointId, Claim>,
    /// How each endpoint stood to the known chain when it was last heard.
    stances: BTreeMap<EndpointId, Stance>,
    /// Down to which height older headers are wanted; `None` once they are there, or cannot be had.
    look_back_to: Option<u64>,
}

/// A head on its way to be linked.
#[derive(Clone, Debug)]
struct Walk {
    endpoint: EndpointId,
    /// The head of the chain for which a doubtful claim was accepted.
    instead_of: Option<B256>,
    /// The head first, then its ancestors.
    down: Vec<Arc<Header>>,
}

/// A head that waits to be linked.
#[derive(Clone, Debug)]
struct Claim {
    header: Arc<Header>,
    /// As in [`Walk`].
    instead_of: Option<B256>,
}

/// How an endpoint stands to the known chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stance {
    /// Its head is on it, or continues it.
    Agrees,
    /// It has shown doubtful heads this often in a row.
    Doubts(u32),
}

/// The safe or the finalized block.
#[derive(Clone, Debug)]
struct Label {
    name: &'static str,
    block: Option<Arc<Header>>,
    /// What each endpoint said last; `None` if it does not say.
    claims: BTreeMap<EndpointId, Option<Arc<Header>>>,
}

impl Label {
    const fn new(name: &'static str) -> Self {
        Self { name, block: None, claims: BTreeMap::new() }
    }

    /// The highest block that two endpoints vouch for, out of so many that answer; one is enough where the others do
    /// not say.
    fn vouched_for(&self, alive: usize) -> Option<(EndpointId, Arc<Header>)> {
        let silent = self.claims.values().filter(|claim| claim.is_none()).count();
        let needed = alive.saturating_sub(silent).clamp(1, 2);
        let mut said: Vec<_> = self.claims.iter().filter_map(|(id, claim)| Some((*id, claim.clone()?))).collect();
        said.sort_by_key(|(_, header)| std::cmp::Reverse(header.number));
        // Whoever says that a block is final says so of every block below it.
        said.into_iter().nth(needed - 1)
    }

    fn number(&self) -> Option<u64> {
        self.block.as_ref().map(|block| block.number)
    }
}

/// How a head stands to what is known.
enum Standing {
    /// It is the head.
    Same,
    /// It is on the chain, below its head.
    Stale,
    /// It is no higher than what is final, and not known.
    Behind,
    /// It sits on the head.
    Next,
    /// As high as the head or higher, with blocks between that are not known yet.
    Branch,
    /// Lower than the head and not on its chain, or on a branch that was left.
    Doubtful,
    /// Lower or higher than what can be linked. The first head of all is too.
    TooFar,
}

pub(crate) fn id(header: &Header) -> BlockId {
    BlockId { number: header.number, hash: header.hash() }
}

impl Chain {
    /// Knows nothing.
    pub fn new(config: ChainConfig) -> Self {
        let window = config.window.max(2);
        Self {
            config: ChainConfig { window, ..config },
            branches: Arc::default(),
            bytes: 0,
            safe: Label::new("safe"),
            finalized: Label::new("finalized"),
            walk: None,
            waiting: BTreeMap::new(),
            stances: BTreeMap::new(),
            look_back_to: None,
        }
    }

    /// What is known now. Cheap.
    pub fn view(&self) -> L1View {
        L1View::new(Arc::clone(&self.branches), self.safe.block.clone(), self.finalized.block.clone())
    }

    /// An endpoint says that this is the newest block.
    pub fn hear_latest(&mut self, endpoint: EndpointId, header: Arc<Header>) -> Outcome {
        let mut outcome = Outcome::default();
        let instead_of = self.branches.head().map(|head| head.hash());
        match self.standing(&header) {
            Standing::Same | Standing::Stale => {
                self.stances.insert(endpoint, Stance::Agrees);
                self.waiting.remove(&endpoint);
            }
            Standing::Behind => {
                self.hear_nothing(endpoint);
            }
            Standing::Next => {
                self.stances.insert(endpoint, Stance::Agrees);
                self.waiting.remove(&endpoint);
                self.extend(header, &mut outcome);
                self.settle(&mut outcome);
            }
            Standing::Branch => {
                self.stances.insert(endpoint, Stance::Agrees);
                self.waiting.insert(endpoint, Claim { header, instead_of: None });
                self.settle(&mut outcome);
            }
            Standing::Doubtful if self.is_convinced_by(endpoint) => {
                self.waiting.insert(endpoint, Claim { header, instead_of });
                self.settle(&mut outcome);
            }
            Standing::TooFar if self.is_convinced_by(endpoint) => {
                self.begin_on(endpoint, vec![header], &mut outcome);
                self.settle(&mut outcome);
            }
            Standing::Doubtful | Standing::TooFar => {}
        }
        outcome
    }

    /// An endpoint does not answer: it vouches for nothing any more.
    pub fn hear_nothing(&mut self, endpoint: EndpointId) {
        self.stances.remove(&endpoint);
        self.waiting.remove(&endpoint);
        self.safe.claims.remove(&endpoint);
        self.finalized.claims.remove(&endpoint);
    }

    /// An endpoint says that this block is safe, or that it does not know.
    pub fn hear_safe(&mut self, endpoint: EndpointId, header: Option<Arc<Header>>) -> Outcome {
        self.hear_label(|chain| &mut chain.safe, endpoint, header)
    }

    /// An endpoint says that this block is final, or that it does not know. Where several endpoints say something, two
    /// have to say it: nothing takes a final block back.
    pub fn hear_finalized(&mut self, endpoint: EndpointId, header: Option<Arc<Header>>) -> Outcome {
        self.hear_label(|chain| &mut chain.finalized, endpoint, header)
    }

    /// What is to be asked for, if anything. The answer goes to [`Chain::hear_block`].
    pub fn wanted(&self) -> Option<Wanted> {
        if let Some(walk) = &self.walk {
            let lowest = walk.down.last()?;
            let number = lowest.number.checked_sub(1)?;
            let head = self.branches.head().map_or(0, |head| head.number);
            let more = number.saturating_sub(head.saturating_add(1));
            return Some(Wanted { hash: lowest.parent_hash, number, more, from: Some(walk.endpoint) });
        }
        let lowest = self.branches.lowest()?;
        let number = lowest.number.checked_sub(1)?;
        let to = self.look_back_to.filter(|to| *to <= number)?;
        Some(Wanted { hash: lowest.parent_hash, number, more: number - to, from: None })
    }

    /// The block that was wanted, or `None` if no endpoint has it. An answer to what is not wanted any more changes
    /// nothing.
    pub fn hear_block(&mut self, asked: B256, header: Option<Arc<Header>>) -> Outcome {
        let mut outcome = Outcome::default();
        if self.wanted().is_none_or(|wanted| wanted.hash != asked) {
            return outcome;
        }
        let header = header.filter(|header| header.hash() == asked);
        match (self.walk.take(), header) {
            (Some(mut walk), Some(header)) => {
                walk.down.push(header);
                self.walk = Some(walk);
            }
            (Some(walk), None) => {
                let unlinked = |head: &Arc<Header>| Objection::Unlinked { head: id(head), missing: asked };
                outcome.objections.extend(walk.down.first().map(unlinked).map(|objection| (walk.endpoint, objection)));
            }
            (None, Some(header)) => self.deepen(header),
            (None, None) => self.look_back_to = None,
        }
        self.settle(&mut outcome);
        outcome
    }

    fn standing(&self, header: &Header) -> Standing {
        let (Some(head), Some(lowest)) = (self.branches.head(), self.branches.lowest()) else {
            return Standing::TooFar;
        };
        if header.hash() == head.hash() {
            return Standing::Same;
        }
        if self.branches.is_canonical(&id(header)) {
            return Standing::Stale;
        }
        if self.finalized.number().is_some_and(|finalized| header.number <= finalized) {
            return Standing::Behind;
        }
        let top = head.number.saturating_add(self.config.window as u64);
        if header.number < lowest.number || header.number > top {
            return Standing::TooFar;
        }
        if header.parent_hash == head.hash() && head.number.checked_add(1) == Some(header.number) {
            return Standing::Next;
        }
        let doubtful = header.number < head.number || self.branches.is_left(&header.hash());
        if doubtful { Standing::Doubtful } else { Standing::Branch }
    }

    /// Has a doubtful head of this endpoint, the present one counted, been heard often enough? More endpoints must
    /// have shown such heads again and again than hold to the chain.
    fn is_convinced_by(&mut self, endpoint: EndpointId) -> bool {
        // There is nothing to doubt the first head by.
        if self.branches.head().is_none() {
            return true;
        }
        let before = match self.stances.get(&endpoint) {
            Some(Stance::Doubts(times)) => *times,
            Some(Stance::Agrees) | None => 0,
        };
        let times = before.saturating_add(1);
        self.stances.insert(endpoint, Stance::Doubts(times));
        let count = |is: &dyn Fn(&Stance) -> bool| self.stances.values().filter(|stance| is(stance)).count();
        let against = count(&|stance| matches!(stance, Stance::Doubts(times) if *times >= self.config.repeats));
        times >= self.config.repeats && against > count(&|stance| *stance == Stance::Agrees)
    }

    /// Goes on with whatever can go on without another answer.
    fn settle(&mut self, outcome: &mut Outcome) {
        while self.step(outcome) {}
        for label in [Self::safe_label as fn(&mut Self) -> &mut Label, Self::finalized_label] {
            self.settle_label(label, outcome);
        }
        self.trim();
    }

    fn safe_label(&mut self) -> &mut Label {
        &mut self.safe
    }

    fn finalized_label(&mut self) -> &mut Label {
        &mut self.finalized
    }

    /// One step of the walk, or the beginning of the next one; false when an answer is needed, or nothing is to be
    /// done.
    fn step(&mut self, outcome: &mut Outcome) -> bool {
        let Some(walk) = self.walk.take().or_else(|| self.next_walk()) else { return false };
        match self.judge(&walk) {
            Judgement::Ask => {
                self.walk = Some(walk);
                return false;
            }
            Judgement::Known(header) => {
                let mut walk = walk;
                walk.down.push(header);
                self.walk = Some(walk);
            }
            Judgement::Overtaken => {}
            Judgement::Linked => self.adopt(walk, outcome),
            Judgement::LinkLost => self.begin_on(walk.endpoint, walk.down, outcome),
            Judgement::Refused(objection) => outcome.objections.push((walk.endpoint, objection)),
        }
        true
    }

    /// The next head to link.
    fn next_walk(&mut self) -> Option<Walk> {
        let (endpoint, Claim { header, instead_of }) = self.waiting.pop_first()?;
        Some(Walk { endpoint, instead_of, down: vec![header] })
    }

    /// Is this still a head to follow? The chain may have moved since it was heard.
    fn still_counts(&self, claim: &Header, instead_of: Option<B256>) -> bool {
        match self.standing(claim) {
            Standing::Next | Standing::Branch => true,
            Standing::Doubtful => instead_of.is_some() && instead_of == self.branches.head().map(|head| head.hash()),
            Standing::Same | Standing::Stale | Standing::Behind | Standing::TooFar => false,
        }
    }

    fn judge(&self, walk: &Walk) -> Judgement {
        let (Some(claim), Some(lowest)) = (walk.down.first(), walk.down.last()) else { return Judgement::Overtaken };
        if !self.still_counts(claim, walk.instead_of) {
            return Judgement::Overtaken;
        }
        let head = id(claim);
        if let Some(above) = walk.down.len().checked_sub(2).map(|index| &walk.down[index])
            && lowest.number.checked_add(1) != Some(above.number)
        {
            return Judgement::Refused(Objection::Heights { head: id(above), parent: lowest.number });
        }
        let linked = self.branches.canonical_number(&lowest.parent_hash);
        if let Some(finalized) = self.finalized.block.as_deref().map(id)
            && lowest.number <= finalized.number.saturating_add(1)
            && linked.is_none_or(|parent| parent < finalized.number)
        {
            return Judgement::Refused(Objection::LeavesOutFinalized { head, finalized });
        }
        if let Some(parent) = linked {
            let fits = parent.checked_add(1) == Some(lowest.number);
            let heights = Objection::Heights { head: id(lowest), parent };
            return if fits { Judgement::Linked } else { Judgement::Refused(heights) };
        }
        let bottom = self.branches.lowest().map_or(0, |lowest| lowest.number);
        // A reorganisation reaches no deeper than what is kept; a gap above the head may be as long again.
        if lowest.number <= bottom || walk.down.len() >= self.config.window.saturating_mul(2) {
            return Judgement::LinkLost;
        }
        self.branches.left(&lowest.parent_hash).map_or(Judgement::Ask, Judgement::Known)
    }

    /// The walk has reached the chain.
    fn adopt(&mut self, walk: Walk, outcome: &mut Outcome) {
        let Some(ancestor) = walk.down.last().and_then(|lowest| lowest.number.checked_sub(1)) else { return };
        self.rewind(ancestor, outcome);
        for header in walk.down.into_iter().rev() {
            self.extend(header, outcome);
        }
        // Who doubted the chain before has to be heard anew on this one.
        self.stances.retain(|_, stance| *stance == Stance::Agrees);
        self.stances.insert(walk.endpoint, Stance::Agrees);
    }

    /// Leaves every block above this height.
    fn rewind(&mut self, ancestor: u64, outcome: &mut Outcome) {
        let Some(from) = self.branches.head().map(|head| id(head)) else { return };
        let Some(to) = self.branches.by_number(ancestor).cloned() else { return };
        if from.number <= ancestor {
            return;
        }
        let left = Arc::make_mut(&mut self.branches).rewind(ancestor, self.config.window);
        self.bytes = self.bytes.saturating_sub(left);
        outcome.news.push(News::Reorged { from, to: id(&to), depth: from.number - ancestor });
        // What is below a safe block is safe.
        if self.safe.number().is_some_and(|safe| safe > ancestor) {
            self.safe.block = Some(to);
        }
    }

    fn extend(&mut self, header: Arc<Header>, outcome: &mut Outcome) {
        self.bytes += bytes_of(&header);
        Arc::make_mut(&mut self.branches).extend(Arc::clone(&header));
        outcome.news.push(News::Advanced(header));
    }

    fn deepen(&mut self, header: Arc<Header>) {
        let fits = self.branches.lowest().is_some_and(|lowest| header.number.checked_add(1) == Some(lowest.number));
        if fits {
            self.bytes += bytes_of(&header);
            Arc::make_mut(&mut self.branches).deepen(header);
        }
        let full = self.branches.len() >= self.config.window || self.bytes > self.config.bytes_max;
        let done = |to| self.branches.lowest().is_none_or(|lowest| lowest.number <= to);
        if !fits || full || self.look_back_to.is_some_and(done) {
            self.look_back_to = None;
        }
    }

    /// Blocks, the highest first, that cannot be linked to what is known: what is known is given up.
    fn begin_on(&mut self, endpoint: EndpointId, down: Vec<Arc<Header>>, outcome: &mut Outcome) {
        let Some(to) = down.first().map(|head| id(head)) else { return };
        let before = self.branches.head().map(|head| id(head));
        self.branches = Arc::default();
        (self.bytes, self.walk) = (0, None);
        self.waiting.clear();
        self.stances = BTreeMap::from([(endpoint, Stance::Agrees)]);
        self.safe.block = None;
        self.safe.claims.clear();
        self.finalized.claims.clear();
        let mut unseen = Outcome::default();
        for header in down.into_iter().rev() {
            self.extend(header, &mut unseen);
        }
        match before {
            Some(from) => outcome.news.push(News::Skipped { from, to }),
            None => outcome.news.append(&mut unseen.news),
        }
        let lowest = self.branches.lowest().map_or(0, |lowest| lowest.number);
        self.look_back_to = lowest.checked_sub(1).map(|_| lowest.saturating_sub(self.config.look_back));
    }

    fn hear_label(
        &mut self,
        label: fn(&mut Self) -> &mut Label,
        endpoint: EndpointId,
        header: Option<Arc<Header>>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        label(self).claims.insert(endpoint, header);
        self.settle(&mut outcome);
        outcome
    }

    /// The safe or finalized block that was heard, once the chain is known up and down to it.
    fn settle_label(&mut self, label: fn(&mut Self) -> &mut Label, outcome: &mut Outcome) {
        let alive = self.stances.len();
        let Some((endpoint, header)) = label(self).vouched_for(alive) else { return };
        let (Some(head), Some(lowest)) = (self.branches.head().map(|head| id(head)), self.branches.lowest()) else {
            return;
        };
        let (lowest, claimed, name) = (lowest.number, id(&header), label(self).name);
        // Never back: an older answer is a late one. And a higher one waits for the head.
        if header.number > head.number || label(self).number().is_some_and(|known| header.number <= known) {
            return;
        }
        if header.number < lowest && self.can_deepen_to(header.number) {
            return;
        }
        // Far below all that is kept it cannot be linked, and is believed.
        if header.number < lowest || self.branches.is_canonical(&claimed) {
            label(self).block = Some(Arc::clone(&header));
            outcome.news.push(if name == "safe" { News::Safe(header) } else { News::Finalized(header) });
        } else {
            label(self).claims.remove(&endpoint);
            outcome.objections.push((endpoint, Objection::NotOnChain { label: name, claimed, head }));
        }
    }

    /// May the chain be known down to this height? Then it is asked for.
    fn can_deepen_to(&mut self, number: u64) -> bool {
        let Some(lowest) = self.branches.lowest() else { return false };
        let missing = lowest.number.saturating_sub(number);
        let room = self.config.window.saturating_sub(self.branches.len()) as u64;
        // Only while it looks back anyway: later, what is missing was dropped or cannot be had.
        let may = missing <= room / 2 && self.look_back_to.is_some();
        if may {
            self.look_back_to = self.look_back_to.map(|to| to.min(number));
        }
        may
    }

    fn trim(&mut self) {
        let over = |chain: &Self| {
            let len = chain.branches.len();
            len > chain.config.window || (chain.bytes > chain.config.bytes_max && len > 1)
        };
        while over(self) {
            self.look_back_to = None;
            let dropped = Arc::make_mut(&mut self.branches).drop_lowest();
            self.bytes = self.bytes.saturating_sub(dropped.as_deref().map_or(0, bytes_of));
        }
    }
}

/// What a walk does next.
enum Judgement {
    /// The chain has gone past it.
    Overtaken,
    /// The parent has to be asked for.
    Ask,
    /// The parent is on a branch that was left.
    Known(Arc<Header>),
    /// The parent is on the chain.
    Linked,
    /// The parent is deeper than all that is kept.
    LinkLost,
    /// It leads nowhere.
    Refused(Objection),
}

pub(crate) fn bytes_of(header: &Header) -> usize {
    HEADER_BYTES + header.extra_data.len()
}
