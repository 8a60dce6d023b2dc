//! After a step the next wake-up lies ahead: no busy loop.
//!
//! Source: design of the heart, rule 4; the public failure: thousands of fork-choice updates a second (kona-node, optimism#22681).

use types::Timestamp;

/// Is the deadline later than the step?
pub fn holds(clock: Timestamp, deadline: Timestamp) -> bool {
    deadline > clock
}
