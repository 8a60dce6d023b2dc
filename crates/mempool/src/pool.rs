//! The pool: accounts, and the indexes over them that make every question cheap.

use crate::account::{Account, Entry, Fee};
use crate::median::Median;
use crate::{Admission, Limits, Order, Outcome, Place, Pooled, Refusal, Underbid};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Transactions waiting for a block, and those that a builder holds at the moment.
///
/// Times are counted from any fixed origin, the same one for all calls.
#[derive(Clone, Debug)]
pub struct Mempool<T: Pooled> {
    limits: Limits,
    order: Order,
    price_threshold: u128,
    sequence: u64,
    accounts: BTreeMap<T::Sender, Account<T>>,
    places: HashMap<T::Hash, (T::Sender, u64)>,
    bytes: usize,
    gapped: Room,
    /// The heads that may be handed out, best first.
    ready: BTreeSet<ReadyKey<T::Sender>>,
    /// All heads by the highest price they accept, so that a moving threshold touches only those it passes.
    heads: BTreeMap<u128, BTreeSet<T::Sender>>,
    /// The last waiting transaction of each account that has nothing executable, the first to go first.
    gapped_tails: BTreeSet<TailKey<T::Sender>>,
    /// The same of the other accounts.
    executable_tails: BTreeSet<TailKey<T::Sender>>,
    /// Everything that waits, by arrival.
    ages: BTreeSet<(Duration, u64, T::Sender, u64)>,
    /// The fees of everything that waits.
    fees: Median<(Fee, u64)>,
}

/// Sorts by rank, then by arrival. The rank is the tip turned around, or nothing for first come, first served.
type ReadyKey<S> = (Reverse<u128>, u64, S);

/// Sorts by the fee of the tail, then the youngest first.
type TailKey<S> = (Fee, Reverse<u64>, S);

/// An amount of transactions and of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    count: usize,
    bytes: usize,
}

impl Room {
    fn of<T: Pooled>(transaction: &T) -> Self {
        Self { count: 1, bytes: transaction.bytes() }
    }

    fn saturating_sub(self, other: Self) -> Self {
        Self { count: self.count.saturating_sub(other.count), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl<T: Pooled> Mempool<T> {
    /// An empty pool.
    pub fn new(limits: Limits, order: Order) -> Self {
        Self {
            limits,
            order,
            price_threshold: 0,
            sequence: 0,
            accounts: BTreeMap::new(),
            places: HashMap::new(),
            bytes: 0,
            gapped: Room::default(),
            ready: BTreeSet::new(),
            heads: BTreeMap::new(),
            gapped_tails: BTreeSet::new(),
            executable_tails: BTreeSet::new(),
            ages: BTreeSet::new(),
            fees: Median::new(),
        }
    }

    /// Lets a transaction in, or says why not.
    ///
    /// `account_nonce` is the nonce that the chain expects of the sender next, executed but unsealed transactions
    /// included. A value that lags behind is harmless where the pool itself knows better from what is in flight.
    pub fn admit(
        &mut self,
        transaction: T,
        account_nonce: u64,
        now: Duration,
    ) -> Result<Admission<T>, Refusal<T::Hash>> {
        let (sender, nonce) = (transaction.sender(), transaction.nonce());
        if self.places.contains_key(&transaction.hash()) {
            return Err(Refusal::Duplicate(transaction.hash()));
        }
        self.touch(sender, |account| account.observe(account_nonce));
        let fresh = Account::new(account_nonce);
        let account = self.accounts.get(&sender).unwrap_or(&fresh);
        self.check_nonce(account, nonce)?;
        let next = account.next();
        let existing = account.waiting(nonce);
        match existing {
            Some(existing) => self.check_replacement(&existing.transaction, &transaction)?,
            None if account.len() >= self.limits.per_account => {
                return Err(Refusal::AccountFull { count: account.len() });
            }
            None => {}
        }
        let freed = existing.map_or(Room::default(), |existing| Room::of(&existing.transaction));
        let gapped = account.head().is_none() && nonce != next;
        let victims =
            self.victims(&transaction, gapped, freed).ok_or(Refusal::Full { count: self.len(), bytes: self.bytes })?;
        let evicted = victims.into_iter().filter_map(|(sender, nonce)| self.remove_waiting(sender, nonce)).collect();
        let replaced = self.remove_waiting(sender, nonce);
        let contiguous = self.insert(transaction, next, now);
        let outcome = match replaced {
            Some(replaced) => Outcome::Replaced(replaced),
            None if contiguous => Outcome::Admitted,
            None => Outcome::Parked,
        };
        Ok(Admission { outcome, evicted })
    }

    /// Hands out up to `count` transactions, the best first; of each account in the order of its nonces. They are in
    /// flight until [`Mempool::included`], [`Mempool::rejected`] or [`Mempool::returned`] settles them.
    pub fn take(&mut self, count: usize) -> Vec<T> {
        std::iter::from_fn(|| self.take_best()).take(count).collect()
    }

    /// Puts transactions in flight back, each at its old place: they were handed out but not executed.
    pub fn returned(&mut self, hashes: impl IntoIterator<Item = T::Hash>) {
        for hash in hashes {
            let Some(&(sender, nonce)) = self.places.get(&hash) else { continue };
            self.touch(sender, |account| account.land(nonce));
            self.note_waiting(sender, nonce);
        }
    }

    /// Puts everything in flight back: the block they were handed out for was given up.
    pub fn rewind(&mut self) {
        let flying: Vec<T::Hash> = self
            .iter()
            .filter(|(_, place)| *place == Place::InFlight)
            .map(|(transaction, _)| transaction.hash())
            .collect();
        self.returned(flying);
    }

    /// Forgets transactions that are in a block now, wherever they were. Returns them and whatever of the same accounts
    /// became impossible with them (a lower or equal nonce), account by account.
    pub fn included(&mut self, hashes: impl IntoIterator<Item = T::Hash>) -> Vec<T> {
        let mut senders: BTreeMap<T::Sender, Vec<u64>> = BTreeMap::new();
        for hash in hashes {
            let Some(&(sender, nonce)) = self.places.get(&hash) else { continue };
            senders.entry(sender).or_default().push(nonce);
        }
        let mut gone = Vec::new();
        for (sender, nonces) in senders {
            // Those of one account at once: a block may hold many, and each look at the indexes costs as much as all of them.
            let settle = |account: &mut Account<T>| -> Vec<T> {
                let flying = nonces.iter().filter(|nonce| account.flying(**nonce).is_some());
                let flying: Vec<u64> = flying.copied().collect();
                flying.into_iter().filter_map(|nonce| account.settle(nonce)).map(|entry| entry.transaction).collect()
            };
            let settled = self.touch(sender, settle).unwrap_or_default();
            gone.extend(settled.into_iter().map(|transaction| self.forget(transaction)));
            let reached = nonces.into_iter().max().unwrap_or_default();
            gone.extend(self.advance(sender, reached.saturating_add(1)));
        }
        gone
    }

    /// Forgets a transaction that cannot be executed, wherever it is. Later ones of the account wait for another one with
    /// its nonce.
    pub fn rejected(&mut self, hash: T::Hash) -> Option<T> {
        let &(sender, nonce) = self.places.get(&hash)?;
        self.remove_unused(sender, nonce)
    }

    /// The chain expects `nonce` of this account next. Returns what became impossible with it.
    pub fn advance(&mut self, sender: T::Sender, nonce: u64) -> Vec<T> {
        let outdated = self.accounts.get(&sender).map(|account| account.outdated(nonce)).unwrap_or_default();
        let gone = outdated.into_iter().filter_map(|nonce| self.remove_used(sender, nonce)).collect();
        self.touch(sender, |account| account.observe(nonce));
        gone
    }

    /// Forgets what has waited longer than [`Limits::ttl`], and returns it.
    pub fn expire(&mut self, now: Duration) -> Vec<T> {
        let Some(ttl) = self.limits.ttl else { return Vec::new() };
        let mut gone = Vec::new();
        while let Some(&(arrived, _, sender, nonce)) = self.ages.first() {
            if now.saturating_sub(arrived) <= ttl {
                break;
            }
            gone.extend(self.remove_waiting(sender, nonce));
        }
        gone
    }

    /// From now on only transactions that accept at least this price per unit of gas are handed out. The others stay.
    pub fn set_price_threshold(&mut self, price: u128) {
        let (low, high) = (self.price_threshold.min(price), self.price_threshold.max(price));
        let passed: Vec<T::Sender> = self.heads.range(low..high).flat_map(|(_, senders)| senders).copied().collect();
        for sender in &passed {
            self.unindex(*sender);
        }
        self.price_threshold = price;
        for sender in passed {
            self.index(sender);
        }
    }

    /// Where a transaction is, if it is here.
    pub fn place(&self, hash: T::Hash) -> Option<Place> {
        let (sender, nonce) = self.places.get(&hash)?;
        self.accounts.get(sender).map(|account| place(account, *nonce))
    }

    /// A transaction of the pool.
    pub fn transaction(&self, hash: T::Hash) -> Option<&T> {
        let (sender, nonce) = self.places.get(&hash)?;
        let account = self.accounts.get(sender)?;
        account.waiting(*nonce).or_else(|| account.flying(*nonce)).map(|entry| &entry.transaction)
    }

    /// The transaction of this account with this nonce.
    pub fn at(&self, sender: T::Sender, nonce: u64) -> Option<&T> {
        let account = self.accounts.get(&sender)?;
        account.waiting(nonce).or_else(|| account.flying(nonce)).map(|entry| &entry.transaction)
    }

    /// It is in flight although the nonce before it is neither used nor in flight any more: it cannot be executed now, and
    /// that is not its own fault.
    pub fn is_orphan(&self, hash: T::Hash) -> bool {
        let Some(&(sender, nonce)) = self.places.get(&hash) else { return false };
        let Some(account) = self.accounts.get(&sender) else { return false };
        let predecessor = nonce.checked_sub(1).and_then(|nonce| account.flying(nonce));
        account.flying(nonce).is_some() && account.next() < nonce && predecessor.is_none()
    }

    /// The first nonce of the account that neither the chain nor the pool has, as far as the pool knows the account.
    pub fn next_nonce(&self, sender: T::Sender) -> Option<u64> {
        self.accounts.get(&sender).map(Account::missing)
    }

    /// All transactions, account by account and in each in the order of nonces.
    pub fn iter(&self) -> impl Iterator<Item = (&T, Place)> {
        self.accounts.values().flat_map(|account| {
            account.all().map(move |entry| (&entry.transaction, place(account, entry.transaction.nonce())))
        })
    }

    /// Transactions in the pool, those in flight included.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes in the pool, those in flight included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something could be handed out now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Transactions that were handed out and neither came back nor were included.
    pub fn in_flight(&self) -> usize {
        self.places.len() - self.ages.len()
    }

    /// Transactions whose nonces join on to their accounts', those in flight left out. Not all of them may be handed out now: an account
    /// whose first one offers less than the price threshold waits.
    pub fn executable(&self) -> usize {
        self.ages.len() - self.gapped.count
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn check_nonce(&self, account: &Account<T>, nonce: u64) -> Result<(), Refusal<T::Hash>> {
        if nonce < account.next() || account.flying(nonce).is_some() {
            return Err(Refusal::NonceTooLow { expected: account.next().max(account.missing()), got: nonce });
        }
        let gap = self.limits.nonce_gap;
        // The last number is left out: no nonce could follow it (EIP-2681).
        if nonce > account.missing().saturating_add(gap) || nonce == u64::MAX {
            return Err(Refusal::NonceTooHigh { expected: account.missing(), got: nonce, gap });
        }
        Ok(())
    }

    fn check_replacement(&self, existing: &T, newcomer: &T) -> Result<(), Refusal<T::Hash>> {
        let tip_required = raised(existing.tip(), self.limits.replacement_percent);
        let max_price_required = raised(existing.max_price(), self.limits.replacement_percent);
        let (tip, max_price) = (newcomer.tip(), newcomer.max_price());
        // Where both are 0 a tenth more is still 0: something must rise, or replacing would be free.
        let rises = tip > existing.tip() || max_price > existing.max_price();
        if rises && tip >= tip_required && max_price >= max_price_required {
            return Ok(());
        }
        let existing = existing.hash();
        Err(Refusal::Underpriced(Box::new(Underbid { existing, tip, tip_required, max_price, max_price_required })))
    }

    /// What must go so that the newcomer fits: nothing, if there is room; `None`, if what is there is worth more.
    ///
    /// Victims come account by account, each from its last nonce down, so that no one is orphaned by it: first those of
    /// accounts that have nothing executable, then those that pay least.
    fn victims(&self, newcomer: &T, newcomer_gapped: bool, freed: Room) -> Option<Vec<(T::Sender, u64)>> {
        let needed = Room::of(newcomer);
        let present = Room { count: self.len(), bytes: self.bytes };
        let limit = Room { count: self.limits.count, bytes: self.limits.bytes };
        let gapped_limit = Room {
            count: share(limit.count, self.limits.gapped_percent),
            bytes: share(limit.bytes, self.limits.gapped_percent),
        };
        let mut short = present.plus(needed).saturating_sub(freed).saturating_sub(limit);
        let mut short_gapped = match newcomer_gapped {
            true => self.gapped.plus(needed).saturating_sub(freed).saturating_sub(gapped_limit),
            false => Room::default(),
        };
        let mut victims = Vec::new();
        for (hangs, tails) in [(true, &self.gapped_tails), (false, &self.executable_tails)] {
            for &(_, _, sender) in tails {
                let before = victims.len();
                for (&nonce, entry) in self.accounts.get(&sender)?.descending() {
                    if short.is_none() && short_gapped.is_none() {
                        return Some(victims);
                    }
                    let own_ancestor = sender == newcomer.sender() && nonce <= newcomer.nonce();
                    if own_ancestor || !self.gives_way(entry, hangs, newcomer, newcomer_gapped) {
                        break;
                    }
                    victims.push((sender, nonce));
                    short = short.saturating_sub(Room::of(&entry.transaction));
                    if hangs {
                        short_gapped = short_gapped.saturating_sub(Room::of(&entry.transaction));
                    }
                }
                // The tails are sorted by fee: where one does not give way, none after it does.
                if victims.len() == before && sender != newcomer.sender() {
                    break;
                }
            }
            if !short_gapped.is_none() {
                return None;
            }
        }
        short.is_none().then_some(victims)
    }

    /// Whether one that is there makes room for a newcomer: if it pays less; or if it hangs in a gap, the newcomer does
    /// not, and it pays less than the median or no more than the newcomer.
    fn gives_way(&self, entry: &Entry<T>, hangs: bool, newcomer: &T, newcomer_gapped: bool) -> bool {
        let offered = Fee { tip: newcomer.tip(), max_price: newcomer.max_price() };
        let below_median = self.fees.median().is_some_and(|(median, _)| entry.fee() < median);
        let yields = hangs && !newcomer_gapped;
        offered > entry.fee() || yields && (below_median || offered == entry.fee())
    }

    /// Says whether it follows on without a gap.
    fn insert(&mut self, transaction: T, next: u64, now: Duration) -> bool {
        let (hash, sender, nonce) = (transaction.hash(), transaction.sender(), transaction.nonce());
        self.bytes += transaction.bytes();
        self.places.insert(hash, (sender, nonce));
        let entry = Entry { transaction, sequence: self.sequence, arrived: now };
        self.sequence += 1;
        self.unindex(sender);
        self.accounts.entry(sender).or_insert_with(|| Account::new(next)).insert(entry);
        self.index(sender);
        self.note_waiting(sender, nonce);
        self.accounts.get(&sender).is_some_and(|account| nonce < account.missing())
    }

    fn take_best(&mut self) -> Option<T> {
        let (_, _, sender) = *self.ready.first()?;
        let nonce = self.accounts.get(&sender)?.next();
        self.forget_waiting(sender, nonce);
        self.touch(sender, Account::take)?
    }

    /// Removes one whose nonce was used, by itself or by another.
    fn remove_used(&mut self, sender: T::Sender, nonce: u64) -> Option<T> {
        self.remove_waiting(sender, nonce).or_else(|| {
            let entry = self.touch(sender, |account| account.settle(nonce))??;
            Some(self.forget(entry.transaction))
        })
    }

    /// Removes one whose nonce is free again.
    fn remove_unused(&mut self, sender: T::Sender, nonce: u64) -> Option<T> {
        self.remove_waiting(sender, nonce).or_else(|| {
            let entry = self.touch(sender, |account| account.refuse(nonce))??;
            Some(self.forget(entry.transaction))
        })
    }

    fn remove_waiting(&mut self, sender: T::Sender, nonce: u64) -> Option<T> {
        self.forget_waiting(sender, nonce);
        let entry = self.touch(sender, |account| account.remove_waiting(nonce))??;
        Some(self.forget(entry.transaction))
    }

    fn forget(&mut self, transaction: T) -> T {
        self.bytes -= transaction.bytes();
        self.places.remove(&transaction.hash());
        transaction
    }

    /// Changes an account with the indexes kept true; an account with nothing left is dropped.
    fn touch<R>(&mut self, sender: T::Sender, change: impl FnOnce(&mut Account<T>) -> R) -> Option<R> {
        self.unindex(sender);
        let result = self.accounts.get_mut(&sender).map(change);
        if self.accounts.get(&sender).is_some_and(Account::is_empty) {
            self.accounts.remove(&sender);
        }
        self.index(sender);
        result
    }

    fn note_waiting(&mut self, sender: T::Sender, nonce: u64) {
        if let Some(entry) = self.accounts.get(&sender).and_then(|account| account.waiting(nonce)) {
            self.ages.insert((entry.arrived, entry.sequence, sender, nonce));
            self.fees.insert((entry.fee(), entry.sequence));
        }
    }

    fn forget_waiting(&mut self, sender: T::Sender, nonce: u64) {
        if let Some(entry) = self.accounts.get(&sender).and_then(|account| account.waiting(nonce)) {
            self.ages.remove(&(entry.arrived, entry.sequence, sender, nonce));
            self.fees.remove((entry.fee(), entry.sequence));
        }
    }

    fn index(&mut self, sender: T::Sender) {
        let Some(keys) = self.keys(sender) else { return };
        self.ready.extend(keys.ready);
        if let Some(price) = keys.head {
            self.heads.entry(price).or_default().insert(sender);
        }
        match keys.gapped {
            Some(_) => self.gapped_tails.extend(keys.tail),
            None => self.executable_tails.extend(keys.tail),
        }
        self.gapped = self.gapped.plus(keys.gapped.unwrap_or_default());
    }

    fn unindex(&mut self, sender: T::Sender) {
        let Some(keys) = self.keys(sender) else { return };
        if let Some(key) = keys.ready {
            self.ready.remove(&key);
        }
        if let Some((price, senders)) = keys.head.and_then(|price| Some((price, self.heads.get_mut(&price)?))) {
            senders.remove(&sender);
            if senders.is_empty() {
                self.heads.remove(&price);
            }
        }
        if let Some(key) = keys.tail {
            self.gapped_tails.remove(&key);
            self.executable_tails.remove(&key);
        }
        self.gapped = self.gapped.saturating_sub(keys.gapped.unwrap_or_default());
    }

    fn keys(&self, sender: T::Sender) -> Option<Keys<T::Sender>> {
        let account = self.accounts.get(&sender)?;
        let waiting = Room { count: account.waiting_len(), bytes: account.waiting_bytes() };
        let payable = account.head().filter(|head| head.transaction.max_price() >= self.price_threshold);
        Some(Keys {
            ready: payable.map(|head| (self.rank(head), head.sequence, sender)),
            head: account.head().map(|head| head.transaction.max_price()),
            tail: account.descending().next().map(|(_, tail)| (tail.fee(), Reverse(tail.sequence), sender)),
            gapped: account.is_gapped().then_some(waiting),
        })
    }

    fn rank(&self, entry: &Entry<T>) -> Reverse<u128> {
        match self.order {
            Order::Tip => Reverse(entry.transaction.tip()),
            Order::Fifo => Reverse(0),
        }
    }
}

/// Where an account stands in the indexes.
struct Keys<S> {
    ready: Option<ReadyKey<S>>,
    /// The highest price that the head accepts.
    head: Option<u128>,
    tail: Option<TailKey<S>>,
    /// What waits, if nothing of it is executable.
    gapped: Option<Room>,
}

fn place<T: Pooled>(account: &Account<T>, nonce: u64) -> Place {
    match account.flying(nonce) {
        Some(_) => Place::InFlight,
        None if nonce < account.missing() => Place::Queued,
        None => Place::Parked,
    }
}

/// What is at least `percent` more, rounded up.
fn raised(value: u128, percent: u32) -> u128 {
    let percent = u128::from(percent);
    let more = (value / 100).saturating_mul(percent).saturating_add(((value % 100) * percent).div_ceil(100));
    value.saturating_add(more)
}

fn share(limit: usize, percent: u32) -> usize {
    let share = limit as u128 * u128::from(percent.min(100)) / 100;
    usize::try_from(share).unwrap_or(limit)
}
