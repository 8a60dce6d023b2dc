//! What a server's own metrics say of a stretch of time.

use crate::endpoint::Endpoint;

/// The calls that a block takes, in their order.
pub(crate) const PHASES: [&str; 4] = ["open", "seal", "import", "set_heads"];

/// Sums and counts since the server's start.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Calls {
    blocks: f64,
    engine: f64,
    /// L1's head, which is no sum.
    l1_head: f64,
    lag: Total,
    phases: [Total; PHASES.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Total {
    count: f64,
    seconds: f64,
}

/// Of a stretch of time; `None` where nothing happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Means {
    /// Seconds from the end of a slot to its block being the head.
    pub(crate) lag: Option<f64>,
    /// Seconds of each of [`PHASES`].
    pub(crate) phases: [Option<f64>; PHASES.len()],
    /// Calls of the engine for each block, questions included.
    pub(crate) engine_calls: Option<f64>,
    /// L1 blocks by which the head that the node sees has risen.
    pub(crate) l1_blocks: f64,
}

impl Calls {
    /// As the server says now.
    pub(crate) async fn read(server: &Endpoint) -> anyhow::Result<Self> {
        Ok(Self::of(&server.text("/metrics").await?))
    }

    fn of(text: &str) -> Self {
        let total = |name: &str, label: &str| Total {
            count: sum(text, &format!("{name}_count"), label),
            seconds: sum(text, &format!("{name}_sum"), label),
        };
        Self {
            blocks: sum(text, "_sequencer_blocks_total", ""),
            engine: sum(text, "_engine_call_duration_seconds_count", ""),
            l1_head: sum(text, "_l1_head", ""),
            lag: total("_sequencer_block_lag_seconds", ""),
            phases: PHASES.map(|call| total("_sequencer_call_duration_seconds", &format!("call=\"{call}\""))),
        }
    }

    /// What came since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Means {
        let mean = |now: Total, then: Total| over(now.seconds - then.seconds, now.count - then.count);
        let engine = self.engine - earlier.engine;
        Means {
            lag: mean(self.lag, earlier.lag),
            phases: std::array::from_fn(|index| mean(self.phases[index], earlier.phases[index])),
            engine_calls: over(engine, self.blocks - earlier.blocks).filter(|_| engine > 0.0),
            l1_blocks: self.l1_head - earlier.l1_head,
        }
    }
}

fn over(sum: f64, count: f64) -> Option<f64> {
    (count > 0.0).then(|| sum / count)
}

/// The sum of all samples whose name ends so and whose labels have this.
fn sum(text: &str, name_end: &str, label: &str) -> f64 {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        (name.ends_with(name_end) && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_the_time_between_two_looks() {
        let metrics = |blocks: u32, seconds: f64| {
            format!(
                "# HELP a b\nx_l1_head {blocks}\nx_sequencer_blocks_total {blocks}\nx_sequencer_call_duration_seconds_sum{{call=\"seal\"}} {seconds}\n\
                 x_sequencer_call_duration_seconds_count{{call=\"seal\"}} {blocks}\n\
                 x_engine_call_duration_seconds_count{{method=\"a\",outcome=\"answered\"}} {}\n\
                 x_engine_call_duration_seconds_count{{method=\"b\",outcome=\"answered\"}} {blocks}\n",
                3 * blocks
            )
        };
        let means = Calls::of(&metrics(14, 1.5)).since(&Calls::of(&metrics(10, 0.5)));
        assert_eq!(means.phases, [None, Some(0.25), None, None]);
        assert_eq!((means.engine_calls, means.lag, means.l1_blocks), (Some(4.0), None, 4.0));
    }
}
