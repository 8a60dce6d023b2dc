//! What a durable append costs, alone and in company: `cargo run --release -p store --example group_commit [folder]`.
//!
//! Each appender waits for its record to be durable before it appends the next one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use store::{Log, LogOptions};

/// About a signed transfer.
const RECORD_BYTES: usize = 600;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let folder = match &given {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    bare_sync(&folder.path().join("bare"))?;
    println!("appenders     acks/s    p50 ms    p99 ms    max ms");
    for appenders in [1, 10, 100, 1000] {
        let log = Arc::new(Log::open(folder.path().join(appenders.to_string()), LogOptions::default())?);
        let mut latencies = measure(&log, appenders);
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = (latencies.len() as f64 * part) as usize;
            latencies[index.min(latencies.len() - 1)].as_secs_f64() * 1e3
        };
        let rate = latencies.len() as f64 / RUN.as_secs_f64();
        println!("{appenders:>9} {rate:>10.0} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
    }
    Ok(())
}

/// The same bytes, appended and synced with nothing around it: what the disk itself takes.
fn bare_sync(path: &std::path::Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < RUN {
        let begun = Instant::now();
        file.write_all(&[7; RECORD_BYTES])?;
        file.sync_data()?;
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2].as_secs_f64() * 1e3;
    println!("bare append and fdatasync: {:.0}/s, p50 {median:.2} ms", latencies.len() as f64 / RUN.as_secs_f64());
    Ok(())
}

fn measure(log: &Arc<Log>, appenders: usize) -> Vec<Duration> {
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..appenders)
        .map(|appender| {
            let (log, over) = (Arc::clone(log), Arc::clone(&over));
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            let thread = builder.spawn(move || {
                let record = [appender as u8; RECORD_BYTES];
                let mut latencies = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if log.append(1, &record).wait().is_err() {
                        break;
                    }
                    latencies.push(begun.elapsed());
                }
                latencies
            });
            thread.expect("the system allows this many threads")
        })
        .collect();
    std::thread::sleep(RUN);
    over.store(true, Ordering::Relaxed);
    threads.into_iter().flat_map(|thread| thread.join().expect("an appender does not panic")).collect()
}
