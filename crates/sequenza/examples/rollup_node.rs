//! A program with a rollup's sequencer inside: it has ten blocks built over an L1, tells of each, and stops.
//!
//! ```text
//! cargo run --example rollup_node -- rollup.json genesis.json http://127.0.0.1:8545 [BLOCKS]
//! ```
//!
//! `examples/rollup/begin.sh` makes both files for an anvil on that port. Everything is kept in a folder that goes away at the end.

use std::sync::Arc;

use sequenza::seams::{Attributes, AttributesBuilder, BackendError, OpPayloadAttributes, RollupConfig};
use sequenza::{NodeMode, RollupNode, SequencerConfig};

/// The node's own attributes builder, watched.
struct Told(Arc<dyn AttributesBuilder>);

#[async_trait::async_trait]
impl AttributesBuilder for Told {
    async fn build(&self, order: &Attributes) -> Result<OpPayloadAttributes, BackendError> {
        let attributes = self.0.build(order).await?;
        let forced = attributes.transactions.as_ref().map_or(0, Vec::len);
        println!("to build on block {}: {forced} forced transactions", order.parent.number);
        Ok(attributes)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, genesis, l1, blocks @ ..] = arguments.as_slice() else {
        return Err("usage: rollup_node rollup.json genesis.json L1_URL [BLOCKS]".into());
    };
    let blocks: u64 = blocks.first().map_or(Ok(10), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let any_port = ([127, 0, 0, 1], 0).into();

    let running = RollupNode::builder(RollupConfig::from_rollup_json(&std::fs::read_to_string(config)?)?.strict()?)
        .with_mode(NodeMode::Sequencer)
        .with_sequencer_config(SequencerConfig { l1_conf_delay: 0, ..SequencerConfig::default() })
        .with_l1_provider_rpc_url(l1)
        .with_l2_genesis(genesis)
        .with_data_dir(folder.path().join("data"))
        .with_rpc_addr(any_port)
        .with_l2_rpc_addr(any_port)
        .with_attributes_builder(|own| Arc::new(Told(own)))
        .build()?
        .start()
        .await?;
    println!("node at {}", running.rpc_url().unwrap_or("nowhere"));
    println!("chain at {}", running.l2_rpc_url().unwrap_or("nowhere"));

    let mut pulse = running.pulse();
    let mut head = pulse.borrow().head;
    let last = head.number.as_u64() + blocks;
    while head.number.as_u64() < last {
        let newer = pulse.wait_for(|pulse| pulse.head != head).await?.head;
        println!("block {} {}", newer.number, newer.hash);
        head = newer;
    }
    running.stop().await?;
    println!("stopped at block {}", head.number);
    Ok(())
}
