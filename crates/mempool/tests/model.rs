//! The pool against a model that keeps one list and recomputes everything, over random sequences of calls.

use mempool::{Limits, Mempool, Order, Outcome, Place, Pooled, Refusal, Underbid};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Hash = (u8, u64, u128, u128, usize);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tx {
    from: u8,
    nonce: u64,
    tip: u128,
    price: u128,
    bytes: usize,
}

impl Pooled for Tx {
    type Hash = Hash;
    type Sender = u8;
    fn hash(&self) -> Hash {
        (self.from, self.nonce, self.tip, self.price, self.bytes)
    }
    fn sender(&self) -> u8 {
        self.from
    }
    fn nonce(&self) -> u64 {
        self.nonce
    }
    fn tip(&self) -> u128 {
        self.tip
    }
    fn max_price(&self) -> u128 {
        self.price
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Clone, Debug)]
enum Op {
    Admit(Tx, u64),
    Take(usize),
    /// Of those in flight, the ones whose bit is set.
    Return(u32),
    Include(u32),
    Reject(u8),
    Advance(u8, u64),
    Expire,
    Threshold(u128),
}

#[derive(Clone, Debug)]
struct Waiting {
    tx: Tx,
    sequence: u64,
    arrived: u64,
    flying: bool,
}

struct Model {
    limits: Limits,
    order: Order,
    threshold: u128,
    sequence: u64,
    next: BTreeMap<u8, u64>,
    entries: Vec<Waiting>,
}

impl Model {
    fn waiting(&self, from: u8) -> BTreeMap<u64, &Waiting> {
        self.entries
            .iter()
            .filter(|entry| entry.tx.from == from && !entry.flying)
            .map(|entry| (entry.tx.nonce, entry))
            .collect()
    }

    fn missing(&self, from: u8) -> u64 {
        let waiting = self.waiting(from);
        (self.next[&from]..).find(|nonce| !waiting.contains_key(nonce)).expect("nonces are small")
    }

    fn head(&self, from: u8) -> Option<&Waiting> {
        self.waiting(from).get(self.next.get(&from)?).copied()
    }

    fn hangs(&self, from: u8) -> bool {
        self.head(from).is_none() && !self.waiting(from).is_empty()
    }

    fn place(&self, entry: &Waiting) -> Place {
        match entry {
            entry if entry.flying => Place::InFlight,
            entry if entry.tx.nonce < self.missing(entry.tx.from) => Place::Queued,
            _ => Place::Parked,
        }
    }

    fn observe(&mut self, from: u8, nonce: u64) {
        let lowest = self.waiting(from).keys().next().map_or(nonce, |lowest| nonce.min(*lowest));
        if let Some(next) = self.next.get_mut(&from) {
            *next = lowest.max(*next);
        }
    }

    fn tidy(&mut self) {
        let senders: BTreeSet<u8> = self.entries.iter().map(|entry| entry.tx.from).collect();
        self.next.retain(|from, _| senders.contains(from));
    }

    fn drop_entry(&mut self, hash: Hash) -> Tx {
        let at = self.entries.iter().position(|entry| entry.tx.hash() == hash).expect("it is there");
        self.entries.remove(at).tx
    }

    fn admit(&mut self, tx: Tx, account_nonce: u64, now: u64) -> Result<(Outcome<Tx>, Vec<Tx>), Refusal<Hash>> {
        if self.entries.iter().any(|entry| entry.tx == tx) {
            return Err(Refusal::Duplicate(tx.hash()));
        }
        self.observe(tx.from, account_nonce);
        let known = self.next.contains_key(&tx.from);
        let next = *self.next.entry(tx.from).or_insert(account_nonce);
        let result = self.admit_at(tx.clone(), next, now);
        if result.is_err() && !known {
            self.next.remove(&tx.from);
        }
        self.tidy();
        result
    }

    fn admit_at(&mut self, tx: Tx, next: u64, now: u64) -> Result<(Outcome<Tx>, Vec<Tx>), Refusal<Hash>> {
        let missing = self.missing(tx.from);
        let same: Vec<Waiting> = self.entries.iter().filter(|entry| entry.tx.from == tx.from).cloned().collect();
        if tx.nonce < next || same.iter().any(|entry| entry.flying && entry.tx.nonce == tx.nonce) {
            return Err(Refusal::NonceTooLow { expected: missing, got: tx.nonce });
        }
        if tx.nonce > missing + self.limits.nonce_gap {
            return Err(Refusal::NonceTooHigh { expected: missing, got: tx.nonce, gap: self.limits.nonce_gap });
        }
        let old = same.iter().find(|entry| entry.tx.nonce == tx.nonce).map(|entry| entry.tx.clone());
        if let Some(old) = &old {
            let tenth_more = |value: u128| (value * 110).div_ceil(100);
            let enough = tx.tip >= tenth_more(old.tip)
                && tx.price >= tenth_more(old.price)
                && (tx.tip, tx.price) != (old.tip, old.price);
            if !enough {
                let (tip_required, max_price_required) = (tenth_more(old.tip), tenth_more(old.price));
                let underbid = Underbid {
                    existing: old.hash(),
                    tip: tx.tip,
                    tip_required,
                    max_price: tx.price,
                    max_price_required,
                };
                return Err(Refusal::Underpriced(Box::new(underbid)));
            }
        } else if same.len() >= self.limits.per_account {
            return Err(Refusal::AccountFull { count: same.len() });
        }
        let evicted = self.make_room(&tx, next, old.as_ref())?;
        if let Some(old) = &old {
            self.drop_entry(old.hash());
        }
        self.entries.push(Waiting { tx: tx.clone(), sequence: self.sequence, arrived: now, flying: false });
        self.sequence += 1;
        let outcome = match old {
            Some(old) => Outcome::Replaced(old),
            None if tx.nonce < self.missing(tx.from) => Outcome::Admitted,
            None => Outcome::Parked,
        };
        Ok((outcome, evicted))
    }

    fn make_room(&mut self, tx: &Tx, next: u64, old: Option<&Tx>) -> Result<Vec<Tx>, Refusal<Hash>> {
        let full =
            Refusal::Full { count: self.entries.len(), bytes: self.entries.iter().map(|entry| entry.tx.bytes).sum() };
        let gapped = self.head(tx.from).is_none() && tx.nonce != next;
        let mut fees: Vec<(u128, u128)> =
            self.entries.iter().filter(|entry| !entry.flying).map(|entry| (entry.tx.tip, entry.tx.price)).collect();
        fees.sort_unstable();
        let median = fees.get(fees.len().saturating_sub(1) / 2).copied();
        let mut left: Vec<Waiting> = self.entries.iter().filter(|entry| Some(&entry.tx) != old).cloned().collect();
        let mut accounts: Vec<_> = self.next.keys().filter(|from| !self.waiting(**from).is_empty()).copied().collect();
        accounts.sort_by_key(|from| {
            let tail = *self.waiting(*from).last_entry().expect("not empty").get();
            (!self.hangs(*from), tail.tx.tip, tail.tx.price, Reverse(tail.sequence))
        });
        let hanging: BTreeSet<u8> = accounts.iter().filter(|from| self.hangs(**from)).copied().collect();
        let fits = |left: &[Waiting]| {
            let room = |entries: Vec<&Waiting>| {
                (entries.len() + 1, entries.iter().map(|entry| entry.tx.bytes).sum::<usize>() + tx.bytes)
            };
            let (count, bytes) = room(left.iter().collect());
            let (gapped_count, gapped_bytes) =
                room(left.iter().filter(|entry| hanging.contains(&entry.tx.from) && !entry.flying).collect());
            let half = |limit: usize| limit * self.limits.gapped_percent as usize / 100;
            let share_kept =
                !gapped || gapped_count <= half(self.limits.count) && gapped_bytes <= half(self.limits.bytes);
            (count <= self.limits.count && bytes <= self.limits.bytes, share_kept)
        };
        let mut evicted = Vec::new();
        for from in accounts {
            let hangs = hanging.contains(&from);
            for (nonce, entry) in self.waiting(from).into_iter().rev() {
                let (room, share) = fits(&left);
                let fee = (entry.tx.tip, entry.tx.price);
                let offered = (tx.tip, tx.price);
                let dearer =
                    offered > fee || hangs && !gapped && (offered == fee || median.is_some_and(|median| fee < median));
                let ancestor = from == tx.from && nonce <= tx.nonce;
                if room && share || ancestor || !dearer || !hangs && !share {
                    break;
                }
                left.retain(|other| other.tx != entry.tx);
                evicted.push(entry.tx.clone());
            }
        }
        if fits(&left) != (true, true) {
            return Err(full);
        }
        for tx in &evicted {
            self.drop_entry(tx.hash());
        }
        Ok(evicted)
    }

    fn take(&mut self, count: usize) -> Vec<Tx> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let heads =
                self.next.keys().filter_map(|from| self.head(*from)).filter(|head| head.tx.price >= self.threshold);
            let rank = |entry: &&Waiting| match self.order {
                Order::Tip => (Reverse(entry.tx.tip), entry.sequence),
                Order::Fifo => (Reverse(0), entry.sequence),
            };
            let Some(best) = heads.min_by_key(rank).map(|entry| entry.tx.clone()) else { break };
            let next = self.next.get_mut(&best.from).expect("it has a head");
            *next = best.nonce + 1;
            self.entries.iter_mut().filter(|entry| entry.tx == best).for_each(|entry| entry.flying = true);
            taken.push(best);
        }
        taken
    }

    fn flying(&self) -> Vec<Tx> {
        let mut flying: Vec<Tx> =
            self.entries.iter().filter(|entry| entry.flying).map(|entry| entry.tx.clone()).collect();
        flying.sort_by_key(|tx| (tx.from, tx.nonce));
        flying
    }

    fn return_to_pool(&mut self, hash: Hash) {
        let entry = self.entries.iter_mut().find(|entry| entry.tx.hash() == hash).expect("it is there");
        entry.flying = false;
        let next = self.next.get_mut(&entry.tx.from).expect("it has entries");
        *next = entry.tx.nonce.min(*next);
    }

    fn include(&mut self, hashes: &[Hash]) -> Vec<Tx> {
        let mut gone = Vec::new();
        let mut reached = BTreeMap::new();
        for hash in hashes {
            let tx = self.remove_used(*hash);
            let at = reached.entry(tx.from).or_insert(tx.nonce);
            *at = tx.nonce.max(*at);
            gone.push(tx);
        }
        self.tidy();
        for (from, nonce) in reached {
            gone.extend(self.advance(from, nonce + 1));
        }
        gone
    }

    fn remove_used(&mut self, hash: Hash) -> Tx {
        let flying = self.entries.iter().any(|entry| entry.tx.hash() == hash && entry.flying);
        let tx = self.drop_entry(hash);
        if flying {
            let next = self.next.get_mut(&tx.from).expect("it had entries");
            *next = (tx.nonce + 1).max(*next);
        }
        tx
    }

    fn reject(&mut self, hash: Hash) -> Tx {
        let flying = self.entries.iter().any(|entry| entry.tx.hash() == hash && entry.flying);
        let tx = self.drop_entry(hash);
        if flying {
            let next = self.next.get_mut(&tx.from).expect("it had entries");
            *next = tx.nonce.min(*next);
        }
        self.tidy();
        tx
    }

    fn advance(&mut self, from: u8, nonce: u64) -> Vec<Tx> {
        let mut outdated: Vec<_> =
            self.entries.iter().filter(|entry| entry.tx.from == from && entry.tx.nonce < nonce).cloned().collect();
        outdated.sort_by_key(|entry| (!entry.flying, entry.tx.nonce));
        let gone = outdated.iter().map(|entry| self.remove_used(entry.tx.hash())).collect();
        self.tidy();
        self.observe(from, nonce);
        gone
    }

    fn expire(&mut self, now: u64) -> Vec<Tx> {
        let ttl = self.limits.ttl.map_or(u64::MAX, |ttl| ttl.as_secs());
        let mut old: Vec<_> =
            self.entries.iter().filter(|entry| !entry.flying && now - entry.arrived > ttl).cloned().collect();
        old.sort_by_key(|entry| (entry.arrived, entry.sequence));
        let gone = old.iter().map(|entry| self.drop_entry(entry.tx.hash())).collect();
        self.tidy();
        gone
    }
}

fn check(order: Order, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let limits = Limits {
        count: 14,
        bytes: 200,
        per_account: 5,
        nonce_gap: 4,
        ttl: Some(Duration::from_secs(12)),
        ..Limits::default()
    };
    let mut pool = Mempool::new(limits, order);
    let mut model = Model { limits, order, threshold: 0, sequence: 0, next: BTreeMap::new(), entries: Vec::new() };
    for (now, op) in ops.into_iter().enumerate() {
        let now = now as u64;
        let picked = |mask: u32| -> Vec<Hash> {
            model.flying().iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, tx)| tx.hash()).collect()
        };
        match op {
            Op::Admit(tx, account_nonce) => {
                let got = pool
                    .admit(tx.clone(), account_nonce, Duration::from_secs(now))
                    .map(|admission| (admission.outcome, admission.evicted));
                prop_assert_eq!(got, model.admit(tx, account_nonce, now));
            }
            Op::Take(count) => prop_assert_eq!(pool.take(count), model.take(count)),
            Op::Return(mask) => {
                let hashes = picked(mask);
                pool.returned(hashes.iter().copied());
                hashes.into_iter().for_each(|hash| model.return_to_pool(hash));
            }
            Op::Include(mask) => {
                let hashes = picked(mask);
                let by_hash = |mut gone: Vec<Tx>| {
                    gone.sort_by_key(Tx::hash);
                    gone
                };
                prop_assert_eq!(by_hash(pool.included(hashes.iter().copied())), by_hash(model.include(&hashes)));
            }
            Op::Reject(at) => {
                let all: Vec<Hash> = pool.iter().map(|(tx, _)| tx.hash()).collect();
                if let Some(hash) = all.get(usize::from(at) % all.len().max(1)) {
                    prop_assert_eq!(pool.rejected(*hash), Some(model.reject(*hash)));
                }
            }
            Op::Advance(from, nonce) => prop_assert_eq!(pool.advance(from, nonce), model.advance(from, nonce)),
            Op::Expire => prop_assert_eq!(pool.expire(Duration::from_secs(now)), model.expire(now)),
            Op::Threshold(price) => {
                pool.set_price_threshold(price);
                model.threshold = price;
            }
        }
        let got: BTreeMap<Hash, Place> = pool.iter().map(|(tx, place)| (tx.hash(), place)).collect();
        let wanted: BTreeMap<Hash, Place> =
            model.entries.iter().map(|entry| (entry.tx.hash(), model.place(entry))).collect();
        prop_assert_eq!(got, wanted);
        prop_assert_eq!(pool.bytes(), model.entries.iter().map(|entry| entry.tx.bytes).sum::<usize>());
        let ready = model.next.keys().filter_map(|from| model.head(*from)).any(|head| head.tx.price >= model.threshold);
        prop_assert_eq!(pool.has_ready(), ready);
    }
    Ok(())
}

fn op() -> impl Strategy<Value = Op> {
    let tx = (0u8..6, 0u64..7, 0u128..4, 0u128..4, 1usize..40).prop_map(|(from, nonce, tip, price, bytes)| Tx {
        from,
        nonce,
        tip: tip * 10,
        price: price * 10,
        bytes,
    });
    prop_oneof![
        8 => (tx, 0u64..3).prop_map(|(tx, nonce)| Op::Admit(tx, nonce)),
        3 => (1usize..5).prop_map(Op::Take),
        1 => any::<u32>().prop_map(Op::Return),
        1 => any::<u32>().prop_map(Op::Include),
        1 => any::<u8>().prop_map(Op::Reject),
        1 => (0u8..6, 0u64..5).prop_map(|(from, nonce)| Op::Advance(from, nonce)),
        1 => Just(Op::Expire),
        1 => (0u128..40).prop_map(Op::Threshold),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(fifo in any::<bool>(), ops in prop::collection::vec(op(), 1..80)) {
        check(if fifo { Order::Fifo } else { Order::Tip }, ops)?;
    }
}
