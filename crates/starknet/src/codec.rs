//! The chain's own binary encoding of blocks, transactions and classes.
//!
//! Fixed-width big-endian felts, LEB128 lengths, one tag byte per choice, no self-description. A body begins with
//! [`BODY_VERSION`]; a reader refuses any other. Decoding never trusts a length: it is checked against the bytes left
//! before anything is reserved.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::Arc;

use cairo_lang_starknet_classes::casm_contract_class::CasmContractClass;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use starknet_api::block::{
    BlockHash, BlockNumber, BlockTimestamp, GasPrice, GasPriceVector, GasPrices, NonzeroGasPrice, StarknetVersion,
};
use starknet_api::contract_class::SierraVersion;
use starknet_api::core::{
    ClassHash, CompiledClassHash, ContractAddress, EntryPointSelector, EthAddress, EventCommitment, GlobalRoot, Nonce,
    PatriciaKey, ReceiptCommitment, StateDiffCommitment, TransactionCommitment,
};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::execution_resources::{GasAmount, GasVector};
use starknet_api::hash::PoseidonHash;
use starknet_api::state::{SierraContractClass, StorageKey};
use starknet_api::transaction::fields::{
    AccountDeploymentData, AllResourceBounds, Calldata, ContractAddressSalt, Fee, PaymasterData, ProofFacts,
    ResourceBounds, Tip, TransactionSignature, ValidResourceBounds,
};
use starknet_api::transaction::{
    DeclareTransaction, DeclareTransactionV3, DeployAccountTransaction, DeployAccountTransactionV3, Event,
    EventContent, EventData, EventKey, InvokeTransaction, InvokeTransactionV3, L1HandlerTransaction, L2ToL1Payload,
    MessageToL1, Transaction, TransactionHash, TransactionVersion,
};
use starknet_types_core::felt::Felt;

use crate::block::{ExecutedTransaction, Header, Outcome, StateDiff};
use crate::classes::{Cairo0Class, DeclaredClass, SierraClass};

/// Version of the block body encoding.
pub const BODY_VERSION: u8 = 1;
/// Upper bound of one unpacked class part (Sierra or CASM as JSON), in bytes.
pub const CLASS_PART_BYTES_MAX: u64 = 64 << 20;

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end early.
    #[error("ends early")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A value is outside its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A version this program does not know.
    #[error("version {0} is not known")]
    Version(u8),
}

/// Everything a block record holds.
#[derive(Clone, Debug)]
pub struct Body {
    /// Header.
    pub header: Header,
    /// Net changes.
    pub state_diff: StateDiff,
    /// Classes that the block brought in, compiled.
    pub classes: Vec<Arc<DeclaredClass>>,
    /// Transactions with outcomes.
    pub transactions: Vec<Arc<ExecutedTransaction>>,
}

impl Body {
    /// Encodes a body.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::with_capacity(1024 + self.transactions.len() * 2048);
        to.versioned_header(&self.header);
        to.state_diff(&self.state_diff);
        to.length(self.classes.len());
        for class in &self.classes {
            to.class(class);
        }
        to.length(self.transactions.len());
        for transaction in &self.transactions {
            to.executed(transaction);
        }
        to.finish()
    }

    /// Reads a body; all bytes must be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let header = from.body_header()?;
        let state_diff = from.state_diff()?;
        let classes = from.list(|from| from.class().map(Arc::new))?;
        let transactions = from.list(|from| from.executed().map(Arc::new))?;
        from.end()?;
        Ok(Self { header, state_diff, classes, transactions })
    }
}

/// Reads only the header of an encoded body.
pub fn decode_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    Reader::new(bytes).body_header()
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// An integer in LEB128.
    pub fn varint(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A 64-bit integer.
    pub fn number(&mut self, value: u64) {
        self.varint(u128::from(value));
    }

    /// A count.
    pub fn length(&mut self, value: usize) {
        self.varint(value as u128);
    }

    /// A felt: 32 bytes.
    pub fn felt(&mut self, value: &Felt) {
        self.0.extend_from_slice(&value.to_bytes_be());
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.extend_from_slice(value);
    }

    /// Felts with their count.
    pub fn felts(&mut self, values: &[Felt]) {
        self.length(values.len());
        for value in values {
            self.felt(value);
        }
    }

    fn address(&mut self, value: &ContractAddress) {
        self.felt(value.0.key());
    }

    /// A header alone, in the form that [`decode_header`] reads.
    pub(crate) fn versioned_header(&mut self, header: &Header) {
        self.byte(BODY_VERSION);
        self.header(header);
    }

    fn header(&mut self, header: &Header) {
        self.number(header.number.0);
        self.felt(&header.hash.0);
        self.felt(&header.parent_hash.0);
        self.felt(&header.state_root.0);
        self.number(header.timestamp.0);
        self.address(&header.sequencer);
        for prices in [&header.gas_prices.eth_gas_prices, &header.gas_prices.strk_gas_prices] {
            for price in [prices.l1_gas_price, prices.l1_data_gas_price, prices.l2_gas_price] {
                self.varint(price.get().0);
            }
        }
        self.byte(u8::from(header.blob_data));
        self.bytes(&Vec::<u8>::from(&header.version));
        self.felt(&header.transaction_commitment.0);
        self.felt(&header.event_commitment.0);
        self.felt(&header.receipt_commitment.0);
        self.felt(&header.state_diff_commitment.0.0);
        self.number(header.state_diff_length);
        self.number(header.transaction_count);
        self.number(header.event_count);
        self.felt(&header.contracts_root);
        self.felt(&header.classes_root);
        self.felt(&header.signature.0);
        self.felt(&header.signature.1);
    }

    fn state_diff(&mut self, diff: &StateDiff) {
        self.length(diff.storage.len());
        for (address, slots) in &diff.storage {
            self.address(address);
            self.length(slots.len());
            for (key, value) in slots {
                self.felt(key.0.key());
                self.felt(value);
            }
        }
        for classes in [&diff.deployed, &diff.replaced] {
            self.length(classes.len());
            for (address, class) in classes {
                self.address(address);
                self.felt(&class.0);
            }
        }
        self.length(diff.nonces.len());
        for (address, nonce) in &diff.nonces {
            self.address(address);
            self.felt(&nonce.0);
        }
        for classes in [&diff.declared, &diff.migrated] {
            self.length(classes.len());
            for (class, compiled) in classes {
                self.felt(&class.0);
                self.felt(&compiled.0);
            }
        }
        self.length(diff.deprecated_declared.len());
        for class in &diff.deprecated_declared {
            self.felt(&class.0);
        }
    }

    /// A class with its compiled form.
    pub fn class(&mut self, class: &DeclaredClass) {
        match class {
            DeclaredClass::Sierra(class) => {
                self.byte(1);
                self.felt(&class.hash.0);
                self.felt(&class.compiled_hash_v1.0);
                self.felt(&class.compiled_hash_v2.0);
                self.bytes(class.sierra_version.to_string().as_bytes());
                self.packed_json(class.sierra.as_ref());
                self.packed_json(class.casm.as_ref());
            }
            DeclaredClass::Cairo0(class) => {
                self.byte(0);
                self.felt(&class.hash.0);
                self.packed(class.json.as_bytes());
            }
        }
    }

    fn packed_json<T: serde::Serialize>(&mut self, value: &T) {
        self.packed(&serde_json::to_vec(value).expect("class types have string keys only"));
    }

    fn packed(&mut self, plain: &[u8]) {
        let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        packer.write_all(plain).expect("writing to memory does not fail");
        let packed = packer.finish().expect("writing to memory does not fail");
        self.bytes(&packed);
    }

    /// A transaction with its outcome.
    pub fn executed(&mut self, executed: &ExecutedTransaction) {
        self.felt(&executed.hash.0);
        self.transaction(&executed.transaction);
        self.varint(executed.paid_fee_on_l1.0);
        self.outcome(&executed.outcome);
    }

    fn outcome(&mut self, outcome: &Outcome) {
        self.varint(outcome.fee.0);
        for gas in [&outcome.gas, &outcome.data_gas] {
            self.number(gas.l1_gas.0);
            self.number(gas.l1_data_gas.0);
            self.number(gas.l2_gas.0);
        }
        self.length(outcome.events.len());
        for event in &outcome.events {
            self.address(&event.from_address);
            self.length(event.content.keys.len());
            for key in &event.content.keys {
                self.felt(&key.0);
            }
            self.felts(&event.content.data.0);
        }
        self.length(outcome.messages.len());
        for message in &outcome.messages {
            self.address(&message.from_address);
            self.felt(&Felt::from(message.to_address));
            self.felts(&message.payload.0);
        }
        self.byte(u8::from(outcome.revert_reason.is_some()));
        if let Some(reason) = &outcome.revert_reason {
            self.bytes(reason.as_bytes());
        }
        self.byte(u8::from(outcome.deployed.is_some()));
        if let Some(address) = &outcome.deployed {
            self.address(address);
        }
    }

    /// A transaction as signed. Only the kinds that this chain can include have an encoding.
    pub fn transaction(&mut self, transaction: &Transaction) {
        match transaction {
            Transaction::Invoke(InvokeTransaction::V3(tx)) => {
                self.byte(1);
                self.fees(&tx.resource_bounds, &tx.tip, &tx.signature, &tx.nonce);
                self.address(&tx.sender_address);
                self.felts(&tx.calldata.0);
                self.modes(tx.nonce_data_availability_mode, tx.fee_data_availability_mode);
                self.felts(&tx.paymaster_data.0);
                self.felts(&tx.account_deployment_data.0);
                self.felts(&tx.proof_facts.0);
            }
            Transaction::Declare(DeclareTransaction::V3(tx)) => {
                self.byte(2);
                self.fees(&tx.resource_bounds, &tx.tip, &tx.signature, &tx.nonce);
                self.felt(&tx.class_hash.0);
                self.felt(&tx.compiled_class_hash.0);
                self.address(&tx.sender_address);
                self.modes(tx.nonce_data_availability_mode, tx.fee_data_availability_mode);
                self.felts(&tx.paymaster_data.0);
                self.felts(&tx.account_deployment_data.0);
            }
            Transaction::DeployAccount(DeployAccountTransaction::V3(tx)) => {
                self.byte(3);
                self.fees(&tx.resource_bounds, &tx.tip, &tx.signature, &tx.nonce);
                self.felt(&tx.class_hash.0);
                self.felt(&tx.contract_address_salt.0);
                self.felts(&tx.constructor_calldata.0);
                self.modes(tx.nonce_data_availability_mode, tx.fee_data_availability_mode);
                self.felts(&tx.paymaster_data.0);
            }
            Transaction::L1Handler(tx) => {
                self.byte(4);
                self.felt(&tx.version.0);
                self.felt(&tx.nonce.0);
                self.address(&tx.contract_address);
                self.felt(&tx.entry_point_selector.0);
                self.felts(&tx.calldata.0);
            }
            // Admission accepts no other kind (error 61), so the builder never meets one.
            Transaction::Invoke(_)
            | Transaction::Declare(_)
            | Transaction::DeployAccount(_)
            | Transaction::Deploy(_) => self.byte(0),
        }
    }

    fn fees(&mut self, bounds: &ValidResourceBounds, tip: &Tip, signature: &TransactionSignature, nonce: &Nonce) {
        let bounds = match bounds {
            ValidResourceBounds::L1Gas(l1_gas) => {
                self.byte(0);
                vec![*l1_gas]
            }
            ValidResourceBounds::AllResources(all) => {
                self.byte(1);
                vec![all.l1_gas, all.l2_gas, all.l1_data_gas]
            }
        };
        for bound in bounds {
            self.number(bound.max_amount.0);
            self.varint(bound.max_price_per_unit.0);
        }
        self.number(tip.0);
        self.felts(&signature.0);
        self.felt(&nonce.0);
    }

    fn modes(&mut self, nonce: DataAvailabilityMode, fee: DataAvailabilityMode) {
        let bit = |mode| u8::from(mode == DataAvailabilityMode::L2);
        self.byte(bit(nonce) << 1 | bit(fee));
    }
}

/// Takes values off a buffer.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Fails when bytes are left.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Range("flag")),
        }
    }

    /// An integer in LEB128.
    pub fn varint(&mut self) -> Result<u128, DecodeError> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift > 121 && bits >> (128 - shift) != 0 {
                return Err(DecodeError::Range("integer"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Range("integer"))
    }

    /// A 64-bit integer.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.varint()?).map_err(|_| DecodeError::Range("number"))
    }

    /// A count of things that take at least one byte each.
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Range("length"))?;
        if length > self.0.len() { Err(DecodeError::Short) } else { Ok(length) }
    }

    /// A felt.
    pub fn felt(&mut self) -> Result<Felt, DecodeError> {
        let bytes: [u8; 32] = self.take(32)?.try_into().map_err(|_| DecodeError::Short)?;
        let felt = Felt::from_bytes_be(&bytes);
        if felt.to_bytes_be() == bytes { Ok(felt) } else { Err(DecodeError::Range("felt")) }
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Felts.
    pub fn felts(&mut self) -> Result<Vec<Felt>, DecodeError> {
        self.list(Self::felt)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let count = self.length()?;
        let mut items = Vec::with_capacity(count.min(1 << 12));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn map<K: Ord, V>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<(K, V), DecodeError>,
    ) -> Result<BTreeMap<K, V>, DecodeError> {
        Ok(self.list(&mut entry)?.into_iter().collect())
    }

    fn key(&mut self) -> Result<PatriciaKey, DecodeError> {
        PatriciaKey::try_from(self.felt()?).map_err(|_| DecodeError::Range("key"))
    }

    fn address(&mut self) -> Result<ContractAddress, DecodeError> {
        self.key().map(ContractAddress)
    }

    fn price(&mut self) -> Result<NonzeroGasPrice, DecodeError> {
        NonzeroGasPrice::new(GasPrice(self.varint()?)).map_err(|_| DecodeError::Range("gas price"))
    }

    fn prices(&mut self) -> Result<GasPriceVector, DecodeError> {
        Ok(GasPriceVector {
            l1_gas_price: self.price()?,
            l1_data_gas_price: self.price()?,
            l2_gas_price: self.price()?,
        })
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| DecodeError::Range("text"))
    }

    fn body_header(&mut self) -> Result<Header, DecodeError> {
        match self.byte()? {
            BODY_VERSION => self.header(),
            other => Err(DecodeError::Version(other)),
        }
    }

    fn header(&mut self) -> Result<Header, DecodeError> {
        Ok(Header {
            number: BlockNumber(self.number()?),
            hash: BlockHash(self.felt()?),
            parent_hash: BlockHash(self.felt()?),
            state_root: GlobalRoot(self.felt()?),
            timestamp: BlockTimestamp(self.number()?),
            sequencer: self.address()?,
            gas_prices: GasPrices { eth_gas_prices: self.prices()?, strk_gas_prices: self.prices()? },
            blob_data: self.flag()?,
            version: StarknetVersion::try_from(self.bytes()?.to_vec())
                .map_err(|_| DecodeError::Range("protocol version"))?,
            transaction_commitment: TransactionCommitment(self.felt()?),
            event_commitment: EventCommitment(self.felt()?),
            receipt_commitment: ReceiptCommitment(self.felt()?),
            state_diff_commitment: StateDiffCommitment(PoseidonHash(self.felt()?)),
            state_diff_length: self.number()?,
            transaction_count: self.number()?,
            event_count: self.number()?,
            contracts_root: self.felt()?,
            classes_root: self.felt()?,
            signature: (self.felt()?, self.felt()?),
        })
    }

    fn state_diff(&mut self) -> Result<StateDiff, DecodeError> {
        let address_class = |from: &mut Self| Ok((from.address()?, ClassHash(from.felt()?)));
        let class_compiled = |from: &mut Self| Ok((ClassHash(from.felt()?), CompiledClassHash(from.felt()?)));
        Ok(StateDiff {
            storage: self
                .map(|from| Ok((from.address()?, from.map(|from| Ok((StorageKey(from.key()?), from.felt()?)))?)))?,
            deployed: self.map(address_class)?,
            replaced: self.map(address_class)?,
            nonces: self.map(|from| Ok((from.address()?, Nonce(from.felt()?))))?,
            declared: self.map(class_compiled)?,
            migrated: self.map(class_compiled)?,
            deprecated_declared: self.list(|from| from.felt().map(ClassHash))?.into_iter().collect::<BTreeSet<_>>(),
        })
    }

    /// A class with its compiled form.
    pub fn class(&mut self) -> Result<DeclaredClass, DecodeError> {
        match self.byte()? {
            0 => {
                let hash = ClassHash(self.felt()?);
                let json = String::from_utf8(self.packed()?).map_err(|_| DecodeError::Range("class text"))?;
                Ok(DeclaredClass::Cairo0(Cairo0Class { hash, json: json.into() }))
            }
            1 => Ok(DeclaredClass::Sierra(SierraClass {
                hash: ClassHash(self.felt()?),
                compiled_hash_v1: CompiledClassHash(self.felt()?),
                compiled_hash_v2: CompiledClassHash(self.felt()?),
                sierra_version: self.sierra_version()?,
                sierra: Arc::new(self.packed_json::<SierraContractClass>("Sierra class")?),
                casm: Arc::new(self.packed_json::<CasmContractClass>("CASM class")?),
            })),
            _ => Err(DecodeError::Range("class kind")),
        }
    }

    fn sierra_version(&mut self) -> Result<SierraVersion, DecodeError> {
        let text = self.text()?;
        let parts: Vec<u64> = text.split('.').map_while(|part| part.parse().ok()).collect();
        match parts[..] {
            [major, minor, patch] => Ok(SierraVersion::new(major, minor, patch)),
            _ => Err(DecodeError::Range("Sierra version")),
        }
    }

    fn packed(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut plain = Vec::new();
        let mut unpacker = GzDecoder::new(self.bytes()?).take(CLASS_PART_BYTES_MAX);
        unpacker.read_to_end(&mut plain).map_err(|_| DecodeError::Range("packed class"))?;
        Ok(plain)
    }

    fn packed_json<T: serde::de::DeserializeOwned>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        serde_json::from_slice(&self.packed()?).map_err(|_| DecodeError::Range(what))
    }

    /// A transaction with its outcome.
    pub fn executed(&mut self) -> Result<ExecutedTransaction, DecodeError> {
        Ok(ExecutedTransaction {
            hash: TransactionHash(self.felt()?),
            transaction: self.transaction()?,
            paid_fee_on_l1: Fee(self.varint()?),
            outcome: self.outcome()?,
        })
    }

    fn gas(&mut self) -> Result<GasVector, DecodeError> {
        Ok(GasVector {
            l1_gas: GasAmount(self.number()?),
            l1_data_gas: GasAmount(self.number()?),
            l2_gas: GasAmount(self.number()?),
        })
    }

    fn outcome(&mut self) -> Result<Outcome, DecodeError> {
        Ok(Outcome {
            fee: Fee(self.varint()?),
            gas: self.gas()?,
            data_gas: self.gas()?,
            events: self.list(|from| {
                Ok(Event {
                    from_address: from.address()?,
                    content: EventContent {
                        keys: from.list(|from| from.felt().map(EventKey))?,
                        data: EventData(from.felts()?),
                    },
                })
            })?,
            messages: self.list(|from| {
                Ok(MessageToL1 {
                    from_address: from.address()?,
                    to_address: EthAddress::try_from(from.felt()?).map_err(|_| DecodeError::Range("L1 address"))?,
                    payload: L2ToL1Payload(from.felts()?),
                })
            })?,
            revert_reason: if self.flag()? { Some(self.text()?) } else { None },
            deployed: if self.flag()? { Some(self.address()?) } else { None },
        })
    }

    /// A transaction as signed.
    pub fn transaction(&mut self) -> Result<Transaction, DecodeError> {
        match self.byte()? {
            1 => {
                let (resource_bounds, tip, signature, nonce) = self.fees()?;
                let sender_address = self.address()?;
                let calldata = Calldata::from(self.felts()?);
                let (nonce_mode, fee_mode) = self.modes()?;
                Ok(Transaction::Invoke(InvokeTransaction::V3(InvokeTransactionV3 {
                    resource_bounds,
                    tip,
                    signature,
                    nonce,
                    sender_address,
                    calldata,
                    nonce_data_availability_mode: nonce_mode,
                    fee_data_availability_mode: fee_mode,
                    paymaster_data: PaymasterData(self.felts()?),
                    account_deployment_data: AccountDeploymentData(self.felts()?),
                    proof_facts: ProofFacts::from(self.felts()?),
                })))
            }
            2 => {
                let (resource_bounds, tip, signature, nonce) = self.fees()?;
                let class_hash = ClassHash(self.felt()?);
                let compiled_class_hash = CompiledClassHash(self.felt()?);
                let sender_address = self.address()?;
                let (nonce_mode, fee_mode) = self.modes()?;
                Ok(Transaction::Declare(DeclareTransaction::V3(DeclareTransactionV3 {
                    resource_bounds,
                    tip,
                    signature,
                    nonce,
                    class_hash,
                    compiled_class_hash,
                    sender_address,
                    nonce_data_availability_mode: nonce_mode,
                    fee_data_availability_mode: fee_mode,
                    paymaster_data: PaymasterData(self.felts()?),
                    account_deployment_data: AccountDeploymentData(self.felts()?),
                })))
            }
            3 => {
                let (resource_bounds, tip, signature, nonce) = self.fees()?;
                let class_hash = ClassHash(self.felt()?);
                let contract_address_salt = ContractAddressSalt(self.felt()?);
                let constructor_calldata = Calldata::from(self.felts()?);
                let (nonce_mode, fee_mode) = self.modes()?;
                Ok(Transaction::DeployAccount(DeployAccountTransaction::V3(DeployAccountTransactionV3 {
                    resource_bounds,
                    tip,
                    signature,
                    nonce,
                    class_hash,
                    contract_address_salt,
                    constructor_calldata,
                    nonce_data_availability_mode: nonce_mode,
                    fee_data_availability_mode: fee_mode,
                    paymaster_data: PaymasterData(self.felts()?),
                })))
            }
            4 => Ok(Transaction::L1Handler(L1HandlerTransaction {
                version: TransactionVersion(self.felt()?),
                nonce: Nonce(self.felt()?),
                contract_address: self.address()?,
                entry_point_selector: EntryPointSelector(self.felt()?),
                calldata: Calldata::from(self.felts()?),
            })),
            _ => Err(DecodeError::Range("transaction kind")),
        }
    }

    #[allow(clippy::type_complexity)]
    fn fees(&mut self) -> Result<(ValidResourceBounds, Tip, TransactionSignature, Nonce), DecodeError> {
        let bounds = match self.byte()? {
            0 => ValidResourceBounds::L1Gas(self.bound()?),
            1 => ValidResourceBounds::AllResources(AllResourceBounds {
                l1_gas: self.bound()?,
                l2_gas: self.bound()?,
                l1_data_gas: self.bound()?,
            }),
            _ => return Err(DecodeError::Range("resource bounds kind")),
        };
        let tip = Tip(self.number()?);
        let signature = TransactionSignature(Arc::new(self.felts()?));
        Ok((bounds, tip, signature, Nonce(self.felt()?)))
    }

    fn bound(&mut self) -> Result<ResourceBounds, DecodeError> {
        Ok(ResourceBounds { max_amount: GasAmount(self.number()?), max_price_per_unit: GasPrice(self.varint()?) })
    }

    fn modes(&mut self) -> Result<(DataAvailabilityMode, DataAvailabilityMode), DecodeError> {
        let mode = |bit| if bit == 1 { DataAvailabilityMode::L2 } else { DataAvailabilityMode::L1 };
        match self.byte()? {
            bits @ 0..=3 => Ok((mode(bits >> 1), mode(bits & 1))),
            _ => Err(DecodeError::Range("data availability modes")),
        }
    }
}
