//! Figures. Ignored by default: run with `--ignored --nocapture measure`.

use std::time::Instant;

use crate::kit::{World, config, transfer};

#[test]
#[ignore = "prints figures"]
fn measure_transfers_and_closing() {
    let folder = tempfile::tempdir().unwrap();
    let accounts = 100u16;
    let started = Instant::now();
    let mut world = World::open(folder.path(), config(accounts));
    println!("genesis with {accounts} accounts: {:?}", started.elapsed());
    let keys = world.chain.accounts().to_vec();
    for _ in 0..3 {
        let build = world.open_block();
        let started = Instant::now();
        let payload = world.seal(build);
        let sealed = started.elapsed();
        world.decide(&payload);
        println!("empty block: seal {sealed:?}, seal to head {:?}", started.elapsed());
    }
    for round in 0..4u64 {
        let transfers: Vec<_> = (0..3u64)
            .flat_map(|step| {
                let (world, keys) = (&world, &keys);
                keys.iter().enumerate().map(move |(i, from)| {
                    transfer(&world.chain, from, round * 3 + step, keys[(i + 1 + step as usize) % keys.len()].address, 1)
                })
            })
            .collect();
        let count = transfers.len();
        let build = world.open_block();
        let started = Instant::now();
        world.queue.push(transfers);
        world.queue.wait_until_drained();
        let executed = started.elapsed();
        let closing = Instant::now();
        let payload = world.seal(build);
        let sealed = closing.elapsed();
        world.decide(&payload);
        println!(
            "{count} transfers: {:.0}/s, executed in {executed:?}, seal {sealed:?}, persist to head {:?}, body {} bytes",
            count as f64 / executed.as_secs_f64(),
            closing.elapsed() - sealed,
            payload.body.len()
        );
    }
    drop(world);
    let started = Instant::now();
    let _world = World::open(folder.path(), config(accounts));
    println!("start on what is there: {:?}", started.elapsed());
}
