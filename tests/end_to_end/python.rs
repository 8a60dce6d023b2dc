//! starknet.py 0.30.0 drives the chain, where it is installed.

use tests::{Launch, python};

/// Guards against answers that only one family of clients can read.
#[tokio::test]
async fn a_transfer_lands() {
    python(&Launch::new().start().await, "transfer.py").await;
}
