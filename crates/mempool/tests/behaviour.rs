//! What a chain may rely on, one rule a test.

use mempool::{Limits, Mempool, Order, Outcome, Place, Pooled, Refusal, Underbid};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tx {
    from: u8,
    nonce: u64,
    tip: u128,
    price: u128,
    bytes: usize,
    salt: u8,
}

impl Pooled for Tx {
    type Hash = (u8, u64, u128, u128, u8);
    type Sender = u8;
    fn hash(&self) -> Self::Hash {
        (self.from, self.nonce, self.tip, self.price, self.salt)
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

fn tx(from: u8, nonce: u64, tip: u128) -> Tx {
    Tx { from, nonce, tip, price: 100, bytes: 10, salt: 0 }
}

fn priced(from: u8, nonce: u64, tip: u128, price: u128) -> Tx {
    Tx { price, ..tx(from, nonce, tip) }
}

fn pool() -> Mempool<Tx> {
    limited(Limits::default())
}

fn limited(limits: Limits) -> Mempool<Tx> {
    Mempool::new(limits, Order::Tip)
}

fn fill(pool: &mut Mempool<Tx>, transactions: impl IntoIterator<Item = Tx>) {
    for transaction in transactions {
        pool.admit(transaction.clone(), 0, Duration::ZERO)
            .unwrap_or_else(|refusal| panic!("{transaction:?}: {refusal}"));
    }
}

fn taken(pool: &mut Mempool<Tx>) -> Vec<(u8, u64)> {
    pool.take(usize::MAX).iter().map(|tx| (tx.from, tx.nonce)).collect()
}

#[test]
fn the_highest_tip_goes_first_and_the_earliest_among_equals() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 5), tx(2, 0, 9), tx(3, 0, 5), tx(4, 0, 7)]);
    assert_eq!(taken(&mut pool), [(2, 0), (4, 0), (1, 0), (3, 0)]);
}

#[test]
fn first_come_first_served_ignores_tips() {
    let mut pool = Mempool::new(Limits::default(), Order::Fifo);
    fill(&mut pool, [tx(1, 0, 5), tx(2, 0, 9), tx(3, 0, 7)]);
    assert_eq!(taken(&mut pool), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn only_the_next_nonce_of_an_account_competes() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 100), tx(2, 0, 50)]);
    assert_eq!(taken(&mut pool), [(2, 0), (1, 0), (1, 1)]);
}

#[test]
fn fifty_rising_nonces_in_any_order_all_land() {
    for seed in 1..50u64 {
        let mut pool = pool();
        let mut nonces: Vec<u64> = (0..50).collect();
        nonces.sort_by_key(|nonce| (nonce + 1).wrapping_mul(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        fill(&mut pool, nonces.into_iter().map(|nonce| tx(1, nonce, 1)));
        assert_eq!(taken(&mut pool), (0..50).map(|nonce| (1, nonce)).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn outcomes_say_whether_a_gap_is_in_the_way() {
    let mut pool = pool();
    let outcome = |pool: &mut Mempool<Tx>, nonce| {
        pool.admit(tx(1, nonce, 1), 0, Duration::ZERO).map(|admission| admission.outcome)
    };
    assert_eq!(outcome(&mut pool, 2), Ok(Outcome::Parked));
    assert_eq!(outcome(&mut pool, 0), Ok(Outcome::Admitted));
    assert_eq!(pool.place(tx(1, 2, 1).hash()), Some(Place::Parked));
    assert_eq!(outcome(&mut pool, 1), Ok(Outcome::Admitted));
    assert_eq!(pool.place(tx(1, 2, 1).hash()), Some(Place::Queued));
    assert_eq!(pool.next_nonce(1), Some(3));
}

#[test]
fn refusals_carry_the_figures() {
    let mut pool = limited(Limits { per_account: 3, ..Limits::default() });
    pool.admit(tx(1, 5, 10), 5, Duration::ZERO).unwrap();
    let mut refused = |tx: Tx| pool.admit(tx, 5, Duration::ZERO).unwrap_err();
    assert_eq!(refused(tx(1, 5, 10)), Refusal::Duplicate(tx(1, 5, 10).hash()));
    assert_eq!(refused(tx(1, 4, 10)), Refusal::NonceTooLow { expected: 6, got: 4 });
    assert_eq!(refused(tx(1, 207, 10)), Refusal::NonceTooHigh { expected: 6, got: 207, gap: 200 });
    assert_eq!(refused(tx(2, u64::MAX, 10)), Refusal::NonceTooHigh { expected: 5, got: u64::MAX, gap: 200 });
    assert_eq!(
        refused(priced(1, 5, 10, 109)),
        Refusal::Underpriced(Box::new(Underbid {
            existing: tx(1, 5, 10).hash(),
            tip: 10,
            tip_required: 11,
            max_price: 109,
            max_price_required: 110
        }))
    );
    pool.admit(tx(1, 6, 1), 5, Duration::ZERO).unwrap();
    pool.admit(tx(1, 206, 1), 5, Duration::ZERO).unwrap();
    assert_eq!(pool.admit(tx(1, 7, 1), 5, Duration::ZERO).unwrap_err(), Refusal::AccountFull { count: 3 });
}

#[test]
fn a_replacement_offers_a_tenth_more_of_both() {
    let rows = [
        // present tip and price, offered tip and price, is it enough
        ((10, 100), (11, 110), true),
        ((10, 100), (10, 110), false),
        ((10, 100), (11, 109), false),
        ((10, 100), (100, 100), false),
        ((15, 15), (16, 17), false),
        ((15, 15), (17, 17), true),
        ((0, 100), (0, 110), true),
        ((0, 0), (0, 0), false),
        ((0, 0), (1, 0), true),
        ((u128::MAX, u128::MAX), (u128::MAX, u128::MAX), false),
    ];
    for ((tip, price), (new_tip, new_price), enough) in rows {
        let mut pool = pool();
        let old = priced(1, 0, tip, price);
        pool.admit(old.clone(), 0, Duration::ZERO).unwrap();
        let new = Tx { salt: 1, ..priced(1, 0, new_tip, new_price) };
        match pool.admit(new.clone(), 0, Duration::ZERO) {
            Ok(admission) => assert!(enough && admission.outcome == Outcome::Replaced(old), "{new:?}"),
            Err(refusal) => assert!(!enough && matches!(refusal, Refusal::Underpriced(_)), "{new:?}: {refusal}"),
        }
        assert_eq!(pool.len(), 1);
    }
}

#[test]
fn one_in_flight_cannot_be_replaced() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1)]);
    pool.take(1);
    assert_eq!(pool.admit(tx(1, 0, 100), 0, Duration::ZERO).unwrap_err(), Refusal::NonceTooLow { expected: 1, got: 0 });
}

#[test]
fn what_is_returned_is_taken_again_in_order() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1), tx(1, 2, 1), tx(2, 0, 5)]);
    pool.take(3);
    pool.returned([tx(1, 1, 1).hash(), tx(1, 0, 1).hash()]);
    assert_eq!(pool.place(tx(2, 0, 5).hash()), Some(Place::InFlight));
    assert_eq!(taken(&mut pool), [(1, 0), (1, 1), (1, 2)]);
    pool.rewind();
    assert_eq!(taken(&mut pool), [(2, 0), (1, 0), (1, 1), (1, 2)]);
}

#[test]
fn inclusion_of_the_first_leaves_the_rest_in_flight() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1), tx(1, 2, 1)]);
    pool.take(2);
    assert_eq!(pool.included([tx(1, 0, 1).hash()]), [tx(1, 0, 1)]);
    assert_eq!(pool.place(tx(1, 1, 1).hash()), Some(Place::InFlight));
    assert_eq!(taken(&mut pool), [(1, 2)]);
    assert_eq!(pool.included([tx(1, 2, 1).hash(), tx(1, 1, 1).hash()]).len(), 2);
    assert!(pool.is_empty());
    assert_eq!(pool.bytes(), 0);
}

#[test]
fn a_rejected_one_leaves_a_gap_that_another_may_close() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1)]);
    pool.take(2);
    assert!(!pool.is_orphan(tx(1, 1, 1).hash()));
    assert_eq!(pool.rejected(tx(1, 0, 1).hash()), Some(tx(1, 0, 1)));
    assert!(pool.is_orphan(tx(1, 1, 1).hash()));
    pool.returned([tx(1, 1, 1).hash()]);
    assert_eq!(taken(&mut pool), []);
    fill(&mut pool, [tx(1, 0, 2)]);
    assert_eq!(taken(&mut pool), [(1, 0), (1, 1)]);
}

#[test]
fn what_the_chain_has_passed_is_dropped() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1), tx(1, 2, 1)]);
    pool.take(1);
    let dropped: Vec<u64> = pool.advance(1, 2).iter().map(|tx| tx.nonce).collect();
    assert_eq!(dropped, [0, 1]);
    assert_eq!(taken(&mut pool), [(1, 2)]);
}

#[test]
fn old_ones_expire_but_not_those_in_flight() {
    let mut pool = limited(Limits { ttl: Some(Duration::from_secs(60)), ..Limits::default() });
    for (tx, at) in [(tx(1, 0, 1), 0), (tx(2, 0, 1), 10), (tx(3, 0, 9), 0)] {
        pool.admit(tx, 0, Duration::from_secs(at)).unwrap();
    }
    pool.take(1);
    assert!(pool.expire(Duration::from_secs(60)).is_empty());
    assert_eq!(pool.expire(Duration::from_secs(61)), [tx(1, 0, 1)]);
    assert_eq!(pool.expire(Duration::from_secs(71)), [tx(2, 0, 1)]);
    assert_eq!(pool.place(tx(3, 0, 9).hash()), Some(Place::InFlight));
}

#[test]
fn below_the_price_threshold_nothing_is_handed_out() {
    let mut pool = pool();
    fill(&mut pool, [priced(1, 0, 9, 50), priced(2, 0, 1, 80), priced(3, 0, 1, 120)]);
    pool.set_price_threshold(81);
    assert_eq!(taken(&mut pool), [(3, 0)]);
    fill(&mut pool, [priced(4, 0, 1, 80)]);
    assert!(!pool.has_ready());
    pool.set_price_threshold(80);
    assert_eq!(taken(&mut pool), [(2, 0), (4, 0)]);
    pool.set_price_threshold(0);
    assert_eq!(taken(&mut pool), [(1, 0)]);
}

#[test]
fn a_full_pool_drops_gapped_accounts_first_then_the_lowest_fee() {
    let mut pool = limited(Limits { count: 3, ..Limits::default() });
    fill(&mut pool, [tx(1, 1, 5), tx(2, 0, 3), tx(3, 0, 4)]);
    let evicted = |pool: &mut Mempool<Tx>, tx: Tx| pool.admit(tx, 0, Duration::ZERO).map(|admission| admission.evicted);
    assert_eq!(evicted(&mut pool, tx(4, 0, 5)), Ok(vec![tx(1, 1, 5)]));
    assert_eq!(evicted(&mut pool, tx(5, 0, 3)), Err(Refusal::Full { count: 3, bytes: 30 }));
    assert_eq!(evicted(&mut pool, tx(5, 0, 4)), Ok(vec![tx(2, 0, 3)]));
    assert_eq!(evicted(&mut pool, tx(6, 0, 5)), Ok(vec![tx(5, 0, 4)]), "the youngest of the cheapest goes");
}

#[test]
fn room_is_made_for_as_many_bytes_as_are_needed() {
    let mut pool = limited(Limits { bytes: 50, ..Limits::default() });
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1), tx(2, 0, 2), tx(3, 0, 9)]);
    let large = Tx { bytes: 35, ..tx(4, 0, 5) };
    assert_eq!(pool.admit(large, 0, Duration::ZERO).unwrap().evicted, [tx(1, 1, 1), tx(1, 0, 1), tx(2, 0, 2)]);
    assert_eq!(pool.bytes(), 45);
    let larger = Tx { bytes: 45, ..tx(5, 0, 8) };
    assert_eq!(pool.admit(larger, 0, Duration::ZERO).unwrap_err(), Refusal::Full { count: 2, bytes: 45 });
    assert_eq!(pool.len(), 2, "a refusal changes nothing");
}

#[test]
fn junk_with_gaps_can_occupy_no_more_than_its_share() {
    let mut pool = limited(Limits { count: 10, ..Limits::default() });
    fill(&mut pool, (1..=5).map(|from| tx(from, 1, 1_000)));
    assert!(matches!(pool.admit(tx(6, 1, 1_000), 0, Duration::ZERO), Err(Refusal::Full { .. })));
    let admission = pool.admit(tx(6, 1, 1_001), 0, Duration::ZERO).unwrap();
    assert_eq!(admission.evicted, [tx(5, 1, 1_000)]);
    fill(&mut pool, (11..=15).map(|from| tx(from, 0, 1)));
    assert_eq!(pool.len(), 10);
}

#[test]
fn a_flood_of_cheap_ones_evicts_nothing_at_or_above_the_median() {
    let mut pool = limited(Limits { count: 100, ..Limits::default() });
    fill(
        &mut pool,
        (0..50)
            .map(|from| tx(from, 0, 10))
            .chain((50..75).map(|from| tx(from, 0, 5)))
            .chain((75..100).map(|from| tx(from, 1, 12))),
    );
    for from in 100..=255 {
        for tip in 0..=9 {
            if let Ok(admission) = pool.admit(tx(from, 0, tip), 0, Duration::ZERO) {
                assert!(admission.evicted.iter().all(|tx| tx.tip < 10), "{:?}", admission.evicted);
            }
        }
    }
}

#[test]
fn an_account_cannot_evict_what_its_newcomer_depends_on() {
    let mut pool = limited(Limits { count: 2, ..Limits::default() });
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1)]);
    assert!(matches!(pool.admit(tx(1, 2, 9), 0, Duration::ZERO), Err(Refusal::Full { .. })));
    fill(&mut pool, [tx(2, 0, 2)]);
    assert_eq!(taken(&mut pool), [(2, 0), (1, 0)]);
}

#[test]
fn a_lagging_account_nonce_does_not_undo_what_is_in_flight() {
    let mut pool = pool();
    fill(&mut pool, [tx(1, 0, 1), tx(1, 1, 1)]);
    pool.take(2);
    let admission = pool.admit(tx(1, 2, 1), 0, Duration::ZERO).unwrap();
    assert_eq!(admission.outcome, Outcome::Admitted);
    assert_eq!(taken(&mut pool), [(1, 2)]);
}
