//! alloy, the Rust client, drives an EVM chain with wallets, fillers and pollers of its own.

use std::time::Duration;

use alloy_eips::BlockNumberOrTag;
use alloy_eips::eip7702::Authorization;
use alloy_network::{EthereumWallet, TransactionBuilder, TransactionBuilder7702};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_provider::{Provider, ProviderBuilder, WsConnect};
use alloy_rpc_types_eth::{Filter, TransactionRequest};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use futures::StreamExt;
use tests::Launch;

/// The first of anvil's public keys, and the second.
const KEYS: [B256; 2] = [
    B256::new(hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")),
    B256::new(hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")),
];
/// Keeps the word it is called with at slot 0 and logs it; answers what it keeps where it is called with nothing. Hand-assembled:
/// `calldatasize iszero jumpi(answer) calldataload(0) dup sstore(0) mstore(0) log0(0, 32) stop answer: mstore(0, sload(0)) return(0, 32)`.
const KEEPER: [u8; 33] = hex!("36156015576000358060005560005260206000a0005b60005460005260206000f3");
/// Deploys what follows it: `codecopy(0, 11, 33) return(0, 33)`.
const DEPLOYER: [u8; 11] = hex!("602180600b6000396000f3");

/// Guards against answers that a typed client cannot read, nonces and fees that its fillers cannot use, and set-code transactions
/// (EIP-7702) that do nothing.
#[tokio::test]
async fn alloy_deploys_calls_watches_and_delegates() {
    let chain = Launch::evm().start().await;
    let [alice, bob] = KEYS.map(|key| PrivateKeySigner::from_bytes(&key).unwrap());
    let wallet = EthereumWallet::from(alice.clone());
    let url = chain.http().parse().unwrap();
    let provider = ProviderBuilder::new().wallet(wallet).connect_http(url);
    assert_eq!(provider.get_chain_id().await.unwrap(), 31_337);
    provider.client().set_poll_interval(Duration::from_millis(50));
    let mut blocks = provider.watch_blocks().await.unwrap().into_stream();
    let socket = ProviderBuilder::new().connect_ws(WsConnect::new(chain.ws())).await.unwrap();
    let mut logged = socket.subscribe_logs(&Filter::new()).await.unwrap().into_stream();
    let mut heads = socket.subscribe_blocks().await.unwrap().into_stream();

    // EIP-1559, all of it filled in by the client.
    let code = Bytes::from([&DEPLOYER[..], &KEEPER].concat());
    let creation = provider.send_transaction(TransactionRequest::default().with_deploy_code(code)).await.unwrap();
    let receipt = creation.get_receipt().await.unwrap();
    assert!(receipt.status() && receipt.effective_gas_price > 0, "{receipt:?}");
    let keeper = receipt.contract_address.unwrap();
    assert_eq!(provider.get_code_at(keeper).await.unwrap(), Bytes::from_static(&KEEPER));
    assert_eq!(blocks.next().await.unwrap(), [receipt.block_hash.unwrap()]);
    assert_eq!(Some(heads.next().await.unwrap().hash), receipt.block_hash);

    let word = U256::from(0x5eed);
    let call = TransactionRequest::default().with_to(keeper).with_input(word.to_be_bytes_vec());
    let receipt = provider.send_transaction(call).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    let asked = provider.call(TransactionRequest::default().with_to(keeper)).await.unwrap();
    assert_eq!(U256::from_be_slice(&asked), word);
    let logs = provider.get_logs(&Filter::new().address(keeper).from_block(BlockNumberOrTag::Earliest)).await.unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!(
        (logs[0].transaction_hash, &logs[0].data().data[..]),
        (Some(receipt.transaction_hash), &word.to_be_bytes::<32>()[..])
    );
    assert_eq!(logged.next().await.unwrap(), logs[0]);
    let block = provider.get_block(receipt.block_hash.unwrap().into()).full().await.unwrap().unwrap();
    assert_eq!(block.transactions.hashes().collect::<Vec<_>>(), [receipt.transaction_hash]);
    assert_eq!(provider.get_proof(keeper, vec![B256::ZERO]).await.unwrap().storage_proof[0].value, word);

    // EIP-7702: bob's account answers with the keeper's code, over storage of its own.
    let chain_id = U256::from(31_337);
    let nonce = provider.get_transaction_count(bob.address()).await.unwrap();
    let authorization = Authorization { chain_id, address: keeper, nonce };
    let signature = bob.sign_hash_sync(&authorization.signature_hash()).unwrap();
    let word = U256::from(0x7702);
    let delegation = TransactionRequest::default()
        .with_to(bob.address())
        .with_input(word.to_be_bytes_vec())
        .with_gas_limit(200_000)
        .with_authorization_list(vec![authorization.into_signed(signature)]);
    let receipt = provider.send_transaction(delegation).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status(), "{receipt:?}");
    let designator = [&hex!("ef0100")[..], keeper.as_slice()].concat();
    assert_eq!(provider.get_code_at(bob.address()).await.unwrap(), Bytes::from(designator));
    let asked = provider.call(TransactionRequest::default().with_to(bob.address())).await.unwrap();
    assert_eq!(U256::from_be_slice(&asked), word);
    assert_eq!(provider.get_storage_at(keeper, U256::ZERO).await.unwrap(), U256::from(0x5eed), "the keeper's own");

    // What is refused is told in words.
    let beggar = PrivateKeySigner::from_bytes(&B256::repeat_byte(9)).unwrap();
    let poor = ProviderBuilder::new().wallet(EthereumWallet::from(beggar)).connect_http(chain.http().parse().unwrap());
    let gift = TransactionRequest { to: Some(TxKind::Call(Address::ZERO)), ..Default::default() };
    let refused = poor.send_transaction(gift.with_value(U256::ONE)).await.unwrap_err().to_string();
    assert!(refused.contains("insufficient funds"), "{refused}");
}
