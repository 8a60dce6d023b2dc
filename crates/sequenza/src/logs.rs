//! Logs: to stderr, so that stdout holds the banner and nothing else.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::Log;

/// Libraries below us; they say more than an operator wants, so a bare level raises them no further than this.
const LIBRARIES: [&str; 10] = [
    "hyper",
    "hyper_util",
    "tower_http",
    "tungstenite",
    "tokio_tungstenite",
    "fjall",
    "lsm_tree",
    "blockifier",
    "cairo_vm",
    "starknet_api",
];

/// Starts logging for the whole process. Called once.
pub(crate) fn start(log: &Log) {
    let filter = filter(&log.filter);
    let stderr = std::io::stderr;
    let colour = log.colour && stderr().is_terminal();
    let registry = tracing_subscriber::registry();
    let started = if log.json {
        registry.with(fmt::layer().json().with_writer(stderr).with_filter(filter)).try_init()
    } else {
        registry.with(fmt::layer().with_ansi(colour).with_writer(stderr).with_filter(filter)).try_init()
    };
    if let Err(error) = started {
        eprintln!("warning: logging could not be started: {error}");
    }
}

/// A bare level is for our own parts; a list of targets is taken word for word.
fn filter(text: &str) -> Targets {
    match text.parse::<LevelFilter>() {
        Ok(level) => {
            let libraries = level.min(LevelFilter::WARN);
            Targets::new().with_default(level).with_targets(LIBRARIES.map(|name| (name, libraries)))
        }
        Err(_) => text.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO)),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_for_us_and_a_filter_for_whom_it_names() {
        let table = [
            ("debug", "node", Level::DEBUG, true),
            ("debug", "node", Level::TRACE, false),
            ("trace", "fjall", Level::INFO, false),
            ("trace", "fjall", Level::WARN, true),
            ("off", "node", Level::ERROR, false),
            ("warn,fjall=trace", "fjall", Level::TRACE, true),
            ("warn,fjall=trace", "node", Level::INFO, false),
        ];
        for (text, target, level, expected) in table {
            assert_eq!(filter(text).would_enable(target, &level), expected, "{text} for {target} at {level}");
        }
    }
}
