//! What every backend must do, asked of this one.

use std::sync::Arc;

use node::Backend;

use crate::kit::{World, config};

#[test]
fn the_starknet_backend_does_what_every_backend_must() {
    let folders: parking_lot::Mutex<Vec<tempfile::TempDir>> = parking_lot::Mutex::default();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path(), config(1));
        folders.lock().push(folder);
        std::future::ready(Arc::new(world.backend) as Arc<dyn Backend>)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(node::conformance::check_all(make));
}
