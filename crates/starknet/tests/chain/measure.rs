//! Figures. Ignored by default: run with `--ignored --nocapture transfers_and_closing_slow`.

use std::time::Instant;

use starknet_types_core::felt::Felt;

use crate::kit::{World, address, config, transfer};

/// CPU time of this process so far, in milliseconds: user and system (fields 14 and 15 of `proc(5)` stat, in ticks of 10 ms).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}

#[test]
#[ignore = "prints figures"]
fn transfers_and_closing_slow() {
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
        // To fresh recipients, so that transfers of different senders do not touch the same balance.
        let recipient = |step: u64, i: usize| address(Felt::from(1_000_000 * (round * 3 + step + 1) + i as u64));
        let transfers: Vec<_> = (0..3u64)
            .flat_map(|step| {
                let (world, keys, recipient) = (&world, &keys, &recipient);
                let send = move |(i, from)| transfer(&world.chain, from, round * 3 + step, recipient(step, i), 1);
                keys.iter().enumerate().map(send)
            })
            .collect();
        let count = transfers.len();
        let build = world.open_block();
        let (started, cpu) = (Instant::now(), cpu_ms());
        world.queue.push(transfers);
        world.queue.wait_until_drained();
        let executed = started.elapsed();
        let (closing, closing_cpu) = (Instant::now(), cpu_ms());
        let payload = world.seal(build);
        let (sealed, sealed_cpu) = (closing.elapsed(), cpu_ms() - closing_cpu);
        world.decide(&payload);
        println!(
            "{count} transfers: {:.0}/s ({:.1} ms of CPU each with closing), executed in {executed:?}, seal {sealed:?} ({sealed_cpu} ms of CPU), persist to head {:?}, body {} bytes",
            count as f64 / executed.as_secs_f64(),
            (cpu_ms() - cpu) / count as f64,
            closing.elapsed() - sealed,
            payload.body.len()
        );
    }
    plain_execution(&world, &keys);
    world.open_block();
    world.queue.push([transfer(&world.chain, &keys[0], 12, keys[1].address, 1)]);
    world.queue.wait_until_drained();
    let (cpu, wait) = (cpu_ms(), std::time::Duration::from_secs(3));
    std::thread::sleep(wait);
    println!("idle with an open block: {:.2} % of a core", (cpu_ms() - cpu) / wait.as_millis() as f64 * 100.0);
    drop(world);
    let started = Instant::now();
    let _world = World::open(folder.path(), config(accounts));
    println!("start on what is there: {:?}", started.elapsed());
}

/// The same transfers through the library's sequential executor alone: what execution costs without a chain around it.
fn plain_execution(world: &World, keys: &[starknet::genesis::PredeployedAccount]) {
    use blockifier::blockifier::config::TransactionExecutorConfig;
    use blockifier::blockifier::transaction_executor::TransactionExecutor;
    use blockifier::transaction::transaction_execution::Transaction;
    let state = world.chain.state(starknet::At::Latest).unwrap().unwrap();
    let mut info = state.block_info().clone();
    info.block_number.0 += 1;
    // Below the tenth block no old hash is due.
    info.block_number.0 = info.block_number.0.min(9);
    let context = world.chain.context(info);
    let mut executor =
        TransactionExecutor::pre_process_and_create(state, context, None, TransactionExecutorConfig::default())
            .unwrap();
    let transfers: Vec<_> = (keys.iter().enumerate())
        .map(|(i, from)| transfer(&world.chain, from, 12, address(Felt::from(90_000_000 + i)), 1))
        .map(Transaction::new_for_sequencing)
        .collect();
    let (started, cpu) = (Instant::now(), cpu_ms());
    for transaction in &transfers {
        executor.execute(transaction).unwrap();
    }
    let count = transfers.len() as f64;
    println!(
        "plain sequential execution: {:.0}/s, {:.1} ms of CPU each",
        count / started.elapsed().as_secs_f64(),
        (cpu_ms() - cpu) / count
    );
}
