//! starknet-rust 0.20.1 drives the chain: the same moves as starknet.js, by a client with other types and other habits.

use std::sync::Arc;
use std::time::Duration;

use starknet_rust::accounts::{
    Account as _, AccountFactory, ConnectedAccount, ExecutionEncoding, OpenZeppelinAccountFactory, SingleOwnerAccount,
};
use starknet_rust::contract::{ContractFactory, UdcSelector};
use starknet_rust::core::types::contract::SierraClass;
use starknet_rust::core::types::{
    AddressFilter, BlockId, BlockTag, Call, EventFilter, ExecuteInvocation, ExecutionResult, Felt, FunctionCall,
    MaybePreConfirmedBlockWithTxHashes, StarknetError, Transaction, TransactionReceipt,
    TransactionReceiptWithBlockInfo, TransactionTrace,
};
use starknet_rust::core::utils::get_selector_from_name;
use starknet_rust::providers::jsonrpc::{HttpTransport, JsonRpcClient};
use starknet_rust::providers::{Provider, ProviderError};
use starknet_rust::signers::{LocalWallet, SigningKey};
use tests::{Chain, Launch, STRK, skipped, vectors};

type Client = Arc<JsonRpcClient<HttpTransport>>;
type Wallet = SingleOwnerAccount<Client, LocalWallet>;

const LATEST: BlockId = BlockId::Tag(BlockTag::Latest);
const PRE_CONFIRMED: BlockId = BlockId::Tag(BlockTag::PreConfirmed);
const LANDS_WITHIN: Duration = Duration::from_secs(20);

/// A chain with a client and the first two of its accounts.
struct Scene {
    chain: Chain,
    client: Client,
    accounts: Vec<Wallet>,
}

impl Scene {
    async fn set() -> Scene {
        Scene::with(Launch::new()).await
    }

    async fn with(launch: Launch) -> Scene {
        let chain = launch.start().await;
        let client = client(&chain);
        let chain_id = client.chain_id().await.unwrap();
        let wallets = chain.accounts().into_iter().map(|account| {
            let signer = LocalWallet::from(SigningKey::from_secret_scalar(account.private_key));
            let wallet =
                SingleOwnerAccount::new(client.clone(), signer, account.address, chain_id, ExecutionEncoding::New);
            seeing_pre_confirmed(wallet)
        });
        Scene { accounts: wallets.collect(), chain, client }
    }

    fn user(&self) -> &Wallet {
        &self.accounts[0]
    }

    fn other(&self) -> Felt {
        self.accounts[1].address()
    }

    async fn balance(&self, owner: Felt) -> Felt {
        let call = FunctionCall {
            contract_address: strk(),
            entry_point_selector: get_selector_from_name("balance_of").unwrap(),
            calldata: vec![owner],
        };
        self.client.call(call, LATEST).await.unwrap()[0]
    }

    /// Waits until a transaction is in a sealed block.
    async fn landed(&self, hash: Felt) -> TransactionReceiptWithBlockInfo {
        let deadline = tokio::time::Instant::now() + LANDS_WITHIN;
        loop {
            match self.client.get_transaction_receipt(hash).await {
                Ok(receipt) if receipt.block.is_block() => return receipt,
                Ok(_) | Err(ProviderError::StarknetError(StarknetError::TransactionHashNotFound)) => {}
                Err(error) => panic!("{hash:#x}: {error}\n{}", self.chain.log()),
            }
            assert!(tokio::time::Instant::now() < deadline, "{hash:#x} did not land\n{}", self.chain.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn succeeded(&self, hash: Felt) -> TransactionReceiptWithBlockInfo {
        let landed = self.landed(hash).await;
        assert_eq!(landed.receipt.execution_result(), &ExecutionResult::Succeeded);
        landed
    }
}

fn client(chain: &Chain) -> Client {
    Arc::new(JsonRpcClient::new(HttpTransport::new(url::Url::parse(&chain.http()).unwrap())))
}

fn seeing_pre_confirmed(mut wallet: Wallet) -> Wallet {
    wallet.set_block_id(PRE_CONFIRMED);
    wallet
}

fn strk() -> Felt {
    Felt::from_hex_unchecked(STRK)
}

fn transfer(to: Felt, amount: u64) -> Call {
    let selector = get_selector_from_name("transfer").unwrap();
    Call { to: strk(), selector, calldata: vec![to, amount.into(), Felt::ZERO] }
}

/// Guards against types that only starknet.js can read: block, transaction, receipt, trace and events of one multicall.
#[tokio::test]
async fn a_multicall_lands_with_receipt_trace_and_events() {
    let scene = Scene::set().await;
    let before = scene.balance(scene.other()).await;
    let calls = vec![transfer(scene.other(), 30), transfer(scene.other(), 12)];
    let sent = scene.user().execute_v3(calls).send().await.unwrap();
    let landed = scene.succeeded(sent.transaction_hash).await;
    assert_eq!(scene.balance(scene.other()).await, before + Felt::from(42));

    let number = landed.block.block_number();
    let MaybePreConfirmedBlockWithTxHashes::Block(block) =
        scene.client.get_block_with_tx_hashes(BlockId::Number(number)).await.unwrap()
    else {
        panic!("block {number} is sealed");
    };
    assert_eq!(Some(block.block_hash), landed.block.block_hash());
    assert!(block.transactions.contains(&sent.transaction_hash));

    let trace = scene.client.trace_transaction(sent.transaction_hash).await.unwrap();
    let TransactionTrace::Invoke(trace) = trace else { panic!("an invoke has the trace of an invoke: {trace:?}") };
    let ExecuteInvocation::Success(execution) = trace.execute_invocation else { panic!("it succeeded") };
    assert_eq!(execution.calls.len(), 2);

    let filter = EventFilter {
        from_block: Some(BlockId::Number(number)),
        to_block: Some(BlockId::Number(number)),
        address: Some(AddressFilter::Single(strk())),
        keys: Some(vec![vec![get_selector_from_name("Transfer").unwrap()]]),
    };
    let page = scene.client.get_events(filter, None, 100).await.unwrap();
    let ours = page.events.iter().filter(|event| event.transaction_hash == sent.transaction_hash).count();
    assert_eq!(ours, 3, "two transfers and the fee: {:?}", page.events);
}

/// Guards against estimates and simulations that starknet-rust would ask for in another way than starknet.js does.
#[tokio::test]
async fn fees_are_estimated_and_simulated_and_a_tip_is_kept() {
    let scene = Scene::set().await;
    let execution = scene.user().execute_v3(vec![transfer(scene.other(), 1)]).tip(0);
    let estimate = execution.estimate_fee().await.unwrap();
    let simulated = execution.simulate(false, false).await.unwrap();
    assert_eq!(simulated.fee_estimation, estimate);
    assert!(matches!(simulated.transaction_trace, TransactionTrace::Invoke(_)));

    let sent = scene.user().execute_v3(vec![transfer(scene.other(), 1)]).tip(1_000_000).send().await.unwrap();
    scene.succeeded(sent.transaction_hash).await;
    let known = scene.client.get_transaction_by_hash(sent.transaction_hash, None).await.unwrap();
    let Transaction::Invoke(starknet_rust::core::types::InvokeTransaction::V3(known)) = known else {
        panic!("an invoke of version 3 comes back as one: {known:?}");
    };
    assert_eq!(known.tip, 1_000_000);
}

/// Guards against a class, a deployer or an account that starknet-rust hashes otherwise than we do.
#[tokio::test]
async fn a_class_is_declared_and_deployed_and_an_account_deploys_itself() {
    let Some(classes) = vectors("starknet/classes/compiler") else {
        return skipped("rust_client", "the test vectors are not beside the repository");
    };
    let scene = Scene::set().await;
    let text = std::fs::read_to_string(classes.join("erc20__erc_20.contract_class.json")).unwrap();
    let class: SierraClass = serde_json::from_str(&text).unwrap();
    // Blake2s, from the vectors' class_hashes.json: what a declaration must name since Starknet 0.14.1.
    let compiled = Felt::from_hex_unchecked("0x1d287b9cffe1e8a876f86045ed7dc20f2a3247dc5a09becaf753190247fc4a0");
    let class_hash = class.class_hash().unwrap();
    let declared = scene.user().declare_v3(Arc::new(class.flatten().unwrap()), compiled).send().await.unwrap();
    scene.succeeded(declared.transaction_hash).await;
    assert_eq!(declared.class_hash, class_hash);

    let factory = ContractFactory::new_with_udc(declared.class_hash, scene.user(), UdcSelector::New);
    let owner = scene.user().address();
    let arguments = vec![Felt::from(0x54), Felt::from(0x54), Felt::from(18), Felt::from(1_000), Felt::ZERO, owner];
    let deployment = factory.deploy_v3(arguments, Felt::from(7), true);
    let address = deployment.deployed_address();
    let sent = deployment.send().await.unwrap();
    scene.succeeded(sent.transaction_hash).await;
    assert_eq!(scene.client.get_class_hash_at(LATEST, address).await.unwrap(), declared.class_hash);

    let oz_class = scene.client.get_class_hash_at(LATEST, owner).await.unwrap();
    let signer = LocalWallet::from(SigningKey::from_random());
    let chain_id = scene.user().chain_id();
    let mut factory = OpenZeppelinAccountFactory::new(oz_class, chain_id, signer, &scene.client).await.unwrap();
    factory.set_block_id(PRE_CONFIRMED);
    let deployment = factory.deploy_v3(Felt::from(99));
    let funds = scene.user().execute_v3(vec![transfer(deployment.address(), 1_000_000_000_000_000_000)]);
    scene.succeeded(funds.send().await.unwrap().transaction_hash).await;
    let sent = factory.deploy_v3(Felt::from(99)).send().await.unwrap();
    let landed = scene.succeeded(sent.transaction_hash).await;
    assert!(matches!(landed.receipt, TransactionReceipt::DeployAccount(_)));
    assert_eq!(scene.client.get_nonce(LATEST, sent.contract_address).await.unwrap(), Felt::ONE);
}

/// Guards against a declaration that takes all memory or time before anyone has paid for it, and then the chain with it.
#[tokio::test]
async fn compilation_is_bounded() {
    let Some(classes) = vectors("starknet/classes/compiler") else {
        return skipped("compilation_is_bounded", "the test vectors are not beside the repository");
    };
    let scene = Scene::with(Launch::new().flag("--max-compilation-memory", "16")).await;
    let text =
        std::fs::read_to_string(classes.join("libfuncs_coverage__libfuncs_coverage.contract_class.json")).unwrap();
    let class: SierraClass = serde_json::from_str(&text).unwrap();
    let compiled = Felt::from_hex_unchecked("0x2db7a621b8ecb36159cdcc993c96714212806fe114acb5770f3aaadc514fc44");
    let declared = scene.user().declare_v3(Arc::new(class.flatten().unwrap()), compiled).send().await;
    let refusal = declared.expect_err("it cannot be compiled in 16 MB").to_string();
    assert!(refusal.to_lowercase().contains("compil"), "{refusal}");

    let sent = scene.user().execute_v3(vec![transfer(scene.other(), 1)]).send().await.unwrap();
    scene.succeeded(sent.transaction_hash).await;
}

/// Guards against nonces that a queue reorders: fifty transactions of one account sent at once, last first, all land.
#[tokio::test]
async fn fifty_nonces_sent_at_once_all_land() {
    let scene = Scene::set().await;
    let nonce = scene.user().get_nonce().await.unwrap();
    let before = scene.balance(scene.other()).await;
    let estimate = scene.user().execute_v3(vec![transfer(scene.other(), 1)]).estimate_fee().await.unwrap();
    let transactions: Vec<_> = (0..50_u64)
        .rev()
        .map(|index| {
            let execution = scene.user().execute_v3(vec![transfer(scene.other(), 1)]).nonce(nonce + Felt::from(index));
            execution
                .tip(0)
                .l1_gas(estimate.l1_gas_consumed * 2 + 1)
                .l1_gas_price(estimate.l1_gas_price * 2)
                .l2_gas(estimate.l2_gas_consumed * 2)
                .l2_gas_price(estimate.l2_gas_price * 2)
                .l1_data_gas(estimate.l1_data_gas_consumed * 2 + 1)
                .l1_data_gas_price(estimate.l1_data_gas_price * 2)
        })
        .collect();
    let sent = futures::future::join_all(transactions.iter().map(|transaction| transaction.send())).await;
    for result in sent {
        scene.succeeded(result.unwrap().transaction_hash).await;
    }
    assert_eq!(scene.balance(scene.other()).await, before + Felt::from(50));
}

/// Guards against state that starknet-rust reads differently once it comes from the disk.
#[tokio::test]
async fn a_restart_changes_nothing_that_can_be_read() {
    let mut scene = Scene::set().await;
    let sent = scene.user().execute_v3(vec![transfer(scene.other(), 5)]).send().await.unwrap();
    let before = scene.succeeded(sent.transaction_hash).await;
    let (balance, trace) =
        (scene.balance(scene.other()).await, scene.client.trace_transaction(sent.transaction_hash).await.unwrap());

    assert!(scene.chain.stop().await.success());
    scene.chain.start_again().await;

    assert_eq!(scene.landed(sent.transaction_hash).await, before);
    assert_eq!(scene.balance(scene.other()).await, balance);
    assert_eq!(scene.client.trace_transaction(sent.transaction_hash).await.unwrap(), trace);
    let next = scene.user().execute_v3(vec![transfer(scene.other(), 5)]).send().await.unwrap();
    scene.succeeded(next.transaction_hash).await;
}
