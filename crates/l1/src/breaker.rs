//! Whether an endpoint is worth asking. Pure: it is told the time.
//!
//! ```text
//!             too many faults in a row
//!   Closed ─────────────────────────────► Open ── the pause is over ──► Half open: one call to try
//!     ▲                                     ▲                               │           │
//!     └───────────── it answered ───────────│───────────────────────────────┘           │
//!                                           └───── a fault: a longer pause ─────────────┘
//! ```

use std::time::{Duration, Instant};

/// When an endpoint is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Weight of faults in a row that opens the breaker. Default 6: three plain faults.
    pub tolerance: u32,
    /// The first pause. Default 500 ms.
    pub pause_min: Duration,
    /// The longest: each pause is twice the one before. Default 4 s, about as often as heads are asked for: to try an endpoint costs
    /// no more than that, and one that is the only one keeps the chain on an old L1 block for so long once it is well again.
    pub pause_max: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { tolerance: 6, pause_min: Duration::from_millis(500), pause_max: Duration::from_secs(4) }
    }
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Another endpoint was faster. Weight 1.
    Slow,
    /// It did not answer, or not with what was asked for. Weight 2.
    Failed,
    /// It answered what cannot be true. Opens the breaker by itself.
    False,
}

/// What is to be done with an endpoint now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It is asked.
    Closed,
    /// It is left alone.
    Open,
    /// One call is made to see how it is.
    HalfOpen,
}

/// One endpoint's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    inner: Inner,
}

#[derive(Clone, Copy, Debug)]
enum Inner {
    Closed { weight: u32 },
    Open { until: Instant, pause: Duration },
    HalfOpen { since: Instant, pause: Duration },
}

impl Breaker {
    /// Closed.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, inner: Inner::Closed { weight: 0 } }
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match self.inner {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { .. } => BreakerState::Open,
            Inner::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Would a call be let through?
    pub fn would_admit(&self, now: Instant) -> bool {
        match self.inner {
            Inner::Closed { .. } => true,
            Inner::Open { until, .. } => now >= until,
            // A trial whose outcome was never told, because the caller went away, does not last for ever.
            Inner::HalfOpen { since, pause } => now >= since + pause.max(self.config.pause_max),
        }
    }

    /// May a call be made? When the pause is over one may, and no other before its outcome is known.
    pub fn admit(&mut self, now: Instant) -> bool {
        let may = self.would_admit(now);
        match self.inner {
            Inner::Open { pause, .. } | Inner::HalfOpen { pause, .. } if may => {
                self.inner = Inner::HalfOpen { since: now, pause };
            }
            Inner::Closed { .. } | Inner::Open { .. } | Inner::HalfOpen { .. } => {}
        }
        may
    }

    /// A call was answered well.
    pub fn succeeded(&mut self) {
        // One that began before a pause says nothing about the pause's end.
        if !matches!(self.inner, Inner::Open { .. }) {
            self.inner = Inner::Closed { weight: 0 };
        }
    }

    /// A call was not answered well.
    pub fn failed(&mut self, now: Instant, severity: Severity) {
        let BreakerConfig { tolerance, pause_min, pause_max } = self.config;
        let added = match severity {
            Severity::Slow => 1,
            Severity::Failed => 2,
            Severity::False => tolerance,
        };
        match self.inner {
            Inner::Closed { weight } => {
                let weight = weight.saturating_add(added);
                self.inner = if weight >= tolerance { open(now, pause_min) } else { Inner::Closed { weight } };
            }
            // Slow is no fault in a trial: the other endpoints are healthy, this one may be far away.
            Inner::HalfOpen { .. } if severity == Severity::Slow => self.inner = Inner::Closed { weight: added },
            Inner::HalfOpen { pause, .. } => self.inner = open(now, pause.saturating_mul(2).min(pause_max)),
            // Calls that began before the pause.
            Inner::Open { .. } => {}
        }
    }
}

fn open(now: Instant, pause: Duration) -> Inner {
    Inner::Open { until: now + pause, pause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BreakerState::{Closed, HalfOpen, Open};

    /// What is done to a breaker, with the state that it must have afterwards.
    enum Do {
        Fail(Severity),
        Succeed,
        /// Milliseconds pass, and a call is asked for: is it let through?
        Ask(u64, bool),
    }
    use Do::{Ask, Fail, Succeed};
    use Severity::{Failed, False, Slow};

    fn run(name: &str, story: &[(Do, BreakerState)]) {
        let mut breaker = Breaker::new(BreakerConfig::default());
        let mut now = Instant::now();
        for (place, (deed, state)) in story.iter().enumerate() {
            match deed {
                Fail(severity) => breaker.failed(now, *severity),
                Succeed => breaker.succeeded(),
                Ask(millis, admitted) => {
                    now += Duration::from_millis(*millis);
                    assert_eq!(breaker.admit(now), *admitted, "{name}, step {place}");
                }
            }
            assert_eq!(breaker.state(), *state, "{name}, step {place}");
        }
    }

    #[test]
    fn stories() {
        run(
            "three faults in a row open",
            &[
                (Fail(Failed), Closed),
                (Fail(Failed), Closed),
                (Ask(0, true), Closed),
                (Fail(Failed), Open),
                (Ask(499, false), Open),
                (Ask(1, true), HalfOpen),
            ],
        );
        run(
            "an answer forgives",
            &[
                (Fail(Failed), Closed),
                (Fail(Failed), Closed),
                (Succeed, Closed),
                (Fail(Failed), Closed),
                (Fail(Failed), Closed),
                (Fail(Slow), Closed),
                (Fail(Slow), Open),
            ],
        );
        run("one false answer opens", &[(Fail(False), Open), (Ask(0, false), Open)]);
        run(
            "six times overtaken opens",
            &[
                (Fail(Slow), Closed),
                (Fail(Slow), Closed),
                (Fail(Slow), Closed),
                (Fail(Slow), Closed),
                (Fail(Slow), Closed),
                (Fail(Slow), Open),
            ],
        );
        run(
            "one trial at a time, and it decides",
            &[
                (Fail(False), Open),
                (Ask(500, true), HalfOpen),
                (Ask(0, false), HalfOpen),
                (Succeed, Closed),
                (Ask(0, true), Closed),
            ],
        );
        run(
            "pauses double up to the longest",
            &[
                (Fail(False), Open),
                (Ask(500, true), HalfOpen),
                (Fail(Failed), Open),
                (Ask(999, false), Open),
                (Ask(1, true), HalfOpen),
                (Fail(Failed), Open),
                (Ask(2000, true), HalfOpen),
                (Fail(Failed), Open),
                (Ask(3999, false), Open),
                (Ask(1, true), HalfOpen),
                (Fail(Failed), Open),
                (Ask(4000, true), HalfOpen),
                (Succeed, Closed),
                (Fail(False), Open),
                (Ask(500, true), HalfOpen),
            ],
        );
        run(
            "late answers of before a pause neither end nor lengthen it",
            &[(Fail(False), Open), (Succeed, Open), (Fail(Failed), Open), (Ask(500, true), HalfOpen)],
        );
        run(
            "a trial that is never told about ends",
            &[(Fail(False), Open), (Ask(500, true), HalfOpen), (Ask(3999, false), HalfOpen), (Ask(1, true), HalfOpen)],
        );
        run("slow in a trial is an answer", &[(Fail(False), Open), (Ask(500, true), HalfOpen), (Fail(Slow), Closed)]);
    }
}
