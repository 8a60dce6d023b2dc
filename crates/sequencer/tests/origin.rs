//! Which L1 block the next block cites.

use proptest::prelude::*;
use sequencer::origin::{
    Choice, Contradiction, Lookup, NextOrigin, Origins, Question, choose, is_deep_enough, is_window_over,
};
use types::{BlockHash, Drift, L1Block, L1Origin, Millis, Timestamp};

const SECOND: u64 = 1000;
/// Fjord begins with L1 blocks of this second.
const FJORD: u64 = 5000;

fn hash(byte: u8) -> BlockHash {
    BlockHash::new([byte; 32])
}

fn drift() -> Drift {
    let seconds = |seconds: u64| Millis::new(seconds * SECOND);
    Drift { bedrock: seconds(600), fjord: seconds(1800), fjord_begins: Some(Timestamp::from_secs(FJORD)) }
}

/// An L1 block of this height and second, on the one below.
fn block(number: u8, second: u64) -> L1Block {
    let origin = L1Origin { number: number.into(), hash: hash(number), timestamp: Timestamp::from_secs(second) };
    L1Block { origin, parent: hash(number - 1) }
}

/// What a block at `time` cites whose parent cites L1 block 10 of second `current`.
fn asked(current: u64, next: NextOrigin, time: u64, recovering: bool) -> Choice {
    let question = Question {
        parent_origin: hash(10),
        timestamp: Timestamp::from_secs(time),
        current: block(10, current),
        next,
        recovering,
    };
    choose(&drift(), &question)
}

fn stay(current: u64, empty: bool) -> Choice {
    Choice::Stay { origin: block(10, current).origin, empty }
}

fn advance(next: u64, empty: bool) -> Choice {
    Choice::Advance { origin: block(11, next).origin, empty }
}

#[test]
fn it_advances_as_soon_as_the_next_block_is_not_ahead() {
    let known = |second| NextOrigin::Known(block(11, second));
    let table = [
        // next, time of the block, what is chosen
        (1012, 1010, stay(1000, false)),
        (1012, 1011, stay(1000, false)),
        (1012, 1012, advance(1012, false)),
        (1012, 1014, advance(1012, false)),
        // Advancing is right even from far ahead, and fills blocks again as soon as it catches up.
        (1012, 1612, advance(1012, false)),
        (1012, 1613, advance(1012, true)),
    ];
    for (next, time, wanted) in table {
        assert_eq!(asked(1000, known(next), time, false), wanted, "next at {next}, block at {time}");
    }
}

#[test]
fn it_stays_while_the_drift_allows() {
    let known = |second| NextOrigin::Known(block(11, second));
    let table = [
        // current, next, time of the block, what is chosen
        (1000, NextOrigin::Unasked, 1600, stay(1000, false)),
        (1000, NextOrigin::Absent, 1600, stay(1000, false)),
        (1000, NextOrigin::Unasked, 1601, Choice::NeedNext),
        (1000, NextOrigin::Absent, 1601, Choice::NeedNext),
        // The next block is there and later than the block to build: it stays, with nothing from the pool.
        (1000, known(1700), 1600, stay(1000, false)),
        (1000, known(1700), 1601, stay(1000, true)),
        (1000, known(1700), 1699, stay(1000, true)),
        (1000, known(1700), 1700, advance(1700, false)),
        // From Fjord on by the time of the current L1 block.
        (FJORD - 1, NextOrigin::Absent, FJORD - 1 + 601, Choice::NeedNext),
        (FJORD, NextOrigin::Absent, FJORD + 1800, stay(FJORD, false)),
        (FJORD, NextOrigin::Absent, FJORD + 1801, Choice::NeedNext),
        (FJORD, known(9000), FJORD + 1800, stay(FJORD, false)),
        (FJORD, known(9000), FJORD + 1801, stay(FJORD, true)),
        // What is chosen counts: the next block may be under Fjord already.
        (FJORD - 1, known(FJORD), FJORD + 1800, advance(FJORD, false)),
        (FJORD - 1, known(FJORD), FJORD + 1801, advance(FJORD, true)),
    ];
    for (current, next, time, wanted) in table {
        assert_eq!(asked(current, next, time, false), wanted, "{current}, {next:?}, block at {time}");
    }
}

#[test]
fn recovering_it_does_what_derivation_does_by_itself() {
    let known = |second| NextOrigin::Known(block(11, second));
    let table = [
        // Whether it could advance has to be known.
        (NextOrigin::Unasked, 1010, Choice::NeedNext),
        // At the tip of L1 it cannot.
        (NextOrigin::Absent, 1010, stay(1000, true)),
        (NextOrigin::Absent, 1600, stay(1000, true)),
        (NextOrigin::Absent, 1601, Choice::NeedNext),
        (known(1012), 1011, stay(1000, true)),
        (known(1012), 1012, advance(1012, true)),
        (known(1700), 1650, stay(1000, true)),
    ];
    for (next, time, wanted) in table {
        assert_eq!(asked(1000, next, time, true), wanted, "{next:?}, block at {time}");
    }
}

/// What derivation makes by itself in the place of a block, once the sequencing window of `l1[cited]` is over: the place of the L1 block
/// that it cites. Written after op-node's `deriveNextEmptyBatch` (`rollup/derive/base_batch_stage.go`), which goes on from epoch to epoch
/// and makes at least one block of each.
fn derived(l1: &[L1Block], cited: usize, timestamp: Timestamp) -> usize {
    let mut epoch = cited;
    loop {
        let first_of_epoch = epoch == cited + 1;
        if timestamp < l1[epoch + 1].origin.timestamp || first_of_epoch {
            return epoch;
        }
        epoch += 1;
    }
}

proptest! {
    /// However far the chain has fallen behind, and however L1's blocks are dated.
    #[test]
    fn recovery_is_what_derivation_makes_by_itself(
        gaps in proptest::collection::vec(1..40_u64, 240..=240), block_time in 1..4_u64, behind in 0..30_u64,
    ) {
        let mut second = 1_000;
        let l1: Vec<L1Block> = gaps.iter().zip(1..).map(|(gap, number)| {
            second += gap;
            block(number, second)
        }).collect();
        let (mut cited, mut time) = (0, l1[0].origin.timestamp.after(Millis::new(behind * SECOND)));
        for _ in 0..200 {
            time = time.after(Millis::new(block_time * SECOND));
            let question = Question {
                parent_origin: l1[cited].origin.hash,
                timestamp: time,
                current: l1[cited],
                next: NextOrigin::Known(l1[cited + 1]),
                recovering: true,
            };
            let wanted = derived(&l1, cited, time);
            let (Choice::Advance { origin, empty } | Choice::Stay { origin, empty }) = choose(&drift(), &question) else {
                return Err(TestCaseError::fail(format!("no choice for {question:?}")));
            };
            prop_assert!(empty, "derivation has no transactions");
            prop_assert_eq!(origin, l1[wanted].origin);
            cited = wanted;
        }
    }
}

#[test]
fn a_picture_that_does_not_hold_together_asks_for_a_reset() {
    let other = Question {
        parent_origin: hash(9),
        timestamp: Timestamp::from_secs(1010),
        current: block(10, 1000),
        next: NextOrigin::Unasked,
        recovering: false,
    };
    let wanted = Contradiction::OtherOrigin { cited: hash(9), found: hash(10) };
    assert_eq!(choose(&drift(), &other), Choice::Reset(wanted));
    let mut orphan = block(11, 1012);
    orphan.parent = hash(77);
    let wanted = Contradiction::NextElsewhere { next: hash(11), parent: hash(77), current: hash(10) };
    for time in [1010, 1012, 1700] {
        assert_eq!(asked(1000, NextOrigin::Known(orphan), time, false), Choice::Reset(wanted), "at {time}");
    }
}

#[test]
fn a_block_is_taken_only_as_deep_as_asked() {
    let table = [
        // height, confirmations, head, taken
        (10, 4, Some(13), false),
        (10, 4, Some(14), true),
        (10, 4, None, true),
        (10, 0, Some(3), true),
        (0, 4, Some(1), true),
        (u64::MAX, 1, Some(u64::MAX), false),
    ];
    for (number, confirmations, head, wanted) in table {
        assert_eq!(is_deep_enough(number, confirmations, head), wanted, "{number}, {confirmations}, {head:?}");
    }
}

#[test]
fn the_window_is_over_when_no_later_block_could_hold_the_batch() {
    // A batch of epoch 100 may be in L1 block 110 at the latest.
    let table = [(108, false), (109, false), (110, true), (111, true)];
    for (head, wanted) in table {
        assert_eq!(is_window_over(100, 10, head), wanted, "head at {head}");
    }
}

#[test]
fn a_block_is_never_older_than_what_it_cites() {
    let early =
        Contradiction::LaterThanTheBlock { origin: block(10, 1000).origin, timestamp: Timestamp::from_secs(999) };
    let table = [(999, Choice::Reset(early)), (1000, stay(1000, false))];
    for (time, wanted) in table {
        assert_eq!(asked(1000, NextOrigin::Absent, time, false), wanted, "at {time}");
    }
}

#[test]
fn the_next_block_is_asked_for_before_it_is_needed() {
    let at = |origins: &Origins, second, recovering| origins.choose(&drift(), Timestamp::from_secs(second), recovering);
    let mut origins = Origins::default();
    assert_eq!((origins.wanted(true), at(&origins, 1010, false)), (None, None));
    origins.follow(hash(10));
    assert_eq!(origins.wanted(true), Some(Lookup::ByHash(hash(10))));
    assert_eq!(at(&origins, 1010, false), None);
    origins.found(Lookup::ByHash(hash(10)), Some(block(10, 1000)));
    assert_eq!(origins.wanted(false), Some(Lookup::ByNumber(11)));
    assert_eq!(at(&origins, 1014, false), Some(stay(1000, false)));
    assert_eq!(at(&origins, 1014, true), Some(Choice::NeedNext), "whether it could advance has to be known");
    origins.found(Lookup::ByNumber(11), None);
    assert_eq!(origins.wanted(true), None, "asked, and not there");
    assert_eq!(at(&origins, 1014, true), Some(stay(1000, true)), "the tip, as seen");
    origins.head_moved();
    assert_eq!(origins.wanted(false), Some(Lookup::ByNumber(11)));
    origins.found(Lookup::ByNumber(11), Some(block(11, 1012)));
    assert_eq!(at(&origins, 1014, false), Some(advance(1012, false)));
    // While a block is made that advances, the one after is looked up.
    assert_eq!((origins.wanted(false), origins.wanted(true)), (None, Some(Lookup::ByNumber(12))));
    origins.found(Lookup::ByNumber(12), Some(block(12, 1024)));
    // The block that advanced is the parent now: nothing has to be asked for.
    origins.follow(hash(11));
    assert_eq!(origins.wanted(false), None);
    assert_eq!(at(&origins, 1024, false), Some(Choice::Advance { origin: block(12, 1024).origin, empty: false }));
    // Each new block asks again for what was absent: news of L1 may have been lost.
    origins.follow(hash(12));
    origins.found(Lookup::ByNumber(13), None);
    origins.follow(hash(12));
    assert_eq!(origins.wanted(false), Some(Lookup::ByNumber(13)));
}

#[test]
fn what_was_read_ahead_on_another_block_is_a_contradiction() {
    let elsewhere = Some(Contradiction::NextElsewhere { next: hash(12), parent: hash(77), current: hash(11) });
    let mut origins = Origins::default();
    origins.follow(hash(10));
    origins.found(Lookup::ByHash(hash(10)), Some(block(10, 1000)));
    origins.found(Lookup::ByNumber(11), Some(block(11, 1012)));
    assert_eq!(origins.contradiction(), None);
    origins.found(Lookup::ByNumber(12), Some(L1Block { parent: hash(77), ..block(12, 1024) }));
    assert_eq!(origins.contradiction(), elsewhere);
    // It is not forgotten when the block that cites the other becomes the parent.
    origins.follow(hash(11));
    assert_eq!((origins.wanted(false), origins.contradiction()), (None, elsewhere));
    origins.reset();
    assert_eq!((origins.wanted(false), origins.contradiction()), (Some(Lookup::ByHash(hash(11))), None));
}

#[test]
fn what_was_not_asked_for_is_no_answer() {
    let mut origins = Origins::default();
    origins.follow(hash(10));
    origins.found(Lookup::ByNumber(11), Some(block(11, 1012)));
    origins.found(Lookup::ByHash(hash(9)), Some(block(9, 990)));
    origins.found(Lookup::ByHash(hash(10)), Some(block(9, 990)));
    assert_eq!(origins.wanted(true), Some(Lookup::ByHash(hash(10))));
    origins.found(Lookup::ByHash(hash(10)), Some(block(10, 1000)));
    origins.found(Lookup::ByNumber(11), Some(block(12, 1012)));
    assert_eq!(origins.wanted(true), Some(Lookup::ByNumber(11)));
    origins.found(Lookup::ByNumber(11), Some(block(11, 1012)));
    // The parent was replaced by one that cites another block.
    origins.follow(hash(8));
    assert_eq!(origins.wanted(true), Some(Lookup::ByHash(hash(8))));
}

#[test]
fn a_head_that_cites_another_block_than_l1_told_of_cites_what_is_gone() {
    let (told, other) = (block(11, 1012), hash(77));
    let mut origins = Origins::default();
    origins.follow(hash(10));
    origins.found(Lookup::ByHash(hash(10)), Some(block(10, 1000)));
    origins.found(Lookup::ByNumber(11), Some(told));
    // It was committed before L1 reorganised; an endpoint would still answer for it.
    origins.follow_at(L1Origin { hash: other, ..told.origin });
    assert_eq!(origins.contradiction(), Some(Contradiction::OriginGone(other)));
    origins.follow_at(told.origin);
    assert_eq!(origins.contradiction(), None);
}

#[test]
fn an_origin_that_l1_does_not_know_asks_for_a_reset() {
    let gone = Some(Choice::Reset(Contradiction::OriginGone(hash(10))));
    type WayOut = fn(&mut Origins);
    let ways_out: [(&str, WayOut); 3] = [
        ("a new head", Origins::head_moved),
        ("a reset", Origins::reset),
        ("another parent and back", |origins| {
            origins.follow(hash(9));
            origins.follow(hash(10));
        }),
    ];
    for (name, way_out) in ways_out {
        let mut origins = Origins::default();
        origins.follow(hash(10));
        origins.found(Lookup::ByHash(hash(10)), None);
        // The same parent again is no news.
        origins.follow(hash(10));
        assert_eq!((origins.wanted(true), origins.choose(&drift(), Timestamp::from_secs(1010), false)), (None, gone));
        way_out(&mut origins);
        assert_eq!(origins.wanted(true), Some(Lookup::ByHash(hash(10))), "{name}: asked again");
        assert_eq!(origins.choose(&drift(), Timestamp::from_secs(1010), false), None, "{name}");
    }
}

#[test]
fn a_contradiction_says_what_does_not_fit() {
    let [one, two, three] = [1, 2, 3].map(hash);
    let rows = [
        (Contradiction::OriginGone(one), "L1 does not know block"),
        (Contradiction::OtherOrigin { cited: one, found: two }, "was looked up for the parent's origin"),
        (Contradiction::NextElsewhere { next: one, parent: two, current: three }, "and not on the parent's origin"),
        (
            Contradiction::LaterThanTheBlock { origin: block(10, 1000).origin, timestamp: Timestamp::from_secs(999) },
            "a block of 999000ms cannot cite L1 block 10 of 1000000ms",
        ),
    ];
    for (contradiction, expected) in rows {
        let said = contradiction.to_string();
        assert!(said.contains(expected), "{said}");
    }
}
