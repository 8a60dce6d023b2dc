//! Log and tables together: what is written down, and what is made of it again after a start.
//!
//! ```text
//!  genesis · block · block · edit · block · revert …     the log, in the order in which things became true
//!                     └──► tables: the chain as it stands after each of them
//! ```
//!
//! A block whose parent is not the newest block makes the chain branch off there: what was above goes.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::Sealable;
use alloy_consensus::transaction::Recovered;
use alloy_genesis::Genesis;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Encodable};
use store::{Log, LogOptions, Position};
use types::Slot;

use crate::block::{ExecutedTransaction, RawBlock, Receipt, SealedHeader, StateChanges, Transaction};
use crate::disguise;
use crate::edit::{self, Edit, Snapshot};
use crate::execute::{self, BlockAttributes, Executed, Feed, Refused};
use crate::ground::{Ground, TrieChanges};
use crate::tables::StateTables;
use crate::{ChainError, ChainSpec, StateView, genesis};

/// Kind of the log's first record: the genesis that the chain began with.
const GENESIS_RECORD: u8 = 1;
/// Kind of a record that holds a block.
const BLOCK_RECORD: u8 = 2;
/// Kind of a record that holds edits of the newest block's state.
const EDIT_RECORD: u8 = 3;
/// Kind of a record that goes back to an earlier moment.
const REVERT_RECORD: u8 = 4;
/// Largest record that the log takes.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// The chain's log and tables.
pub(crate) struct Ledger {
    pub(crate) spec: ChainSpec,
    pub(crate) genesis: Genesis,
    pub(crate) log: Log,
    pub(crate) tables: Arc<StateTables>,
    /// Blocks below the newest one whose state is kept; 0: all.
    history: AtomicU64,
}

/// A block as its attributes and transactions make it, before anybody gave it a slot.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) header: SealedHeader,
    pub(crate) executed: Executed,
    pub(crate) tries: TrieChanges,
}

impl Ledger {
    /// Opens both and brings the tables up to the end of the log. Gives the newest block as well.
    pub(crate) fn open(folder: &Path, genesis: Option<Genesis>) -> Result<(Self, SealedHeader), ChainError> {
        let options = LogOptions { record_bytes_max: RECORD_BYTES_MAX, ..LogOptions::default() };
        let log = Log::open(folder.join("blocks"), options)?;
        let genesis = founded(&log, genesis)?;
        let spec = ChainSpec::new(genesis.config.clone())?;
        let place = folder.join("tables");
        let tables = Arc::new(StateTables::open(&place)?);
        let fits = match tables.standing()? {
            Some(standing) => standing.position < log.end() && tables.is_whole_at(standing.block)?,
            None => true,
        };
        let mut ledger = Self { spec, genesis, log, tables, history: AtomicU64::new(0) };
        if !fits {
            tracing::warn!("tables and block log do not fit together: building the tables again");
            drop(ledger.tables);
            ledger.tables = Arc::new(StateTables::rebuild(&place)?);
        }
        let head = ledger.catch_up()?;
        Ok((ledger, head))
    }

    /// The end of a block of the chain.
    pub(crate) fn ground(&self, header: &SealedHeader) -> Result<Ground, ChainError> {
        self.check_history(header.number)?;
        let root = self.tables.state_root(header)?;
        Ok(Ground::sealed(Arc::clone(&self.tables), header.number, root))
    }

    /// Writes a block down and waits until it is durable.
    pub(crate) fn write_block(&self, slot: Slot, body: &[u8]) -> Result<Position, ChainError> {
        let record = [&slot.as_u64().to_be_bytes()[..], body].concat();
        Ok(self.log.append(BLOCK_RECORD, &record).wait()?)
    }

    /// A block as it was written down.
    pub(crate) fn read_block(&self, position: Position) -> Result<(Slot, bytes::Bytes), ChainError> {
        split_record(&self.log.read(position)?.payload)
    }

    /// Makes a durable block the newest. It stands on the newest one, or on one further down; then what is above goes. Gives the
    /// transactions of what went.
    pub(crate) fn lead(
        &self,
        head: &SealedHeader,
        header: &SealedHeader,
        executed: &Executed,
        tries: &TrieChanges,
        position: Position,
    ) -> Result<Vec<Transaction>, ChainError> {
        let gone = self.unwind(head, header.number.saturating_sub(1))?;
        self.tables.apply(header, &executed.transactions, &executed.changes, tries, position)?;
        let history = self.history.load(Ordering::Acquire);
        if let Some(oldest) = header.number.checked_sub(history).filter(|_| history > 0) {
            self.tables.let_go_below(oldest)?;
        }
        Ok(gone)
    }

    pub(crate) fn keep_history(&self, blocks: Option<u64>) {
        self.history.store(blocks.unwrap_or_default(), Ordering::Release);
    }

    /// Whether the state at the end of a block is kept.
    pub(crate) fn check_history(&self, block: u64) -> Result<(), ChainError> {
        let oldest = self.tables.oldest();
        if block < oldest { Err(ChainError::History { block, oldest }) } else { Ok(()) }
    }

    /// Takes blocks off until this height is the newest.
    fn unwind(&self, head: &SealedHeader, to: u64) -> Result<Vec<Transaction>, ChainError> {
        self.check_history(to)?;
        let mut gone = Vec::new();
        for number in (to.saturating_add(1)..=head.number).rev() {
            let missing = || ChainError::Storage(format!("block {number} is missing"));
            let (header, position) = self.tables.block(number)?.ok_or_else(missing)?;
            let (_, body) = self.read_block(position)?;
            let transactions = decode_block(&body)?.body.transactions;
            let hashes: Vec<B256> = transactions.iter().map(|transaction| transaction.tx_hash()).collect();
            self.tables.unwind(&header, &hashes)?;
            gone.splice(0..0, transactions);
        }
        Ok(gone)
    }

    /// Changes the state at the end of the newest block.
    pub(crate) fn edit(&self, head: &SealedHeader, edits: &[Edit]) -> Result<(), ChainError> {
        let record = serde_json::to_vec(edits).map_err(unreadable)?;
        let position = self.log.append(EDIT_RECORD, &record).wait()?;
        self.apply_edits(head, edits, position)
    }

    fn apply_edits(&self, head: &SealedHeader, edits: &[Edit], position: Position) -> Result<(), ChainError> {
        let ground = self.ground(head)?;
        let changes = edit::changes(&ground, edits)?;
        let reverse = serde_json::to_vec(&edit::reverse(&ground, &changes)?).map_err(unreadable)?;
        let tries = ground.commit(&changes)?;
        let count = self.tables.undo(head.number)?.len() as u64;
        self.tables.amend(head.number, &changes, &tries, Some((count, &reverse)), position)
    }

    /// This moment, to go back to.
    pub(crate) fn snapshot(&self, head: &SealedHeader) -> Result<Snapshot, ChainError> {
        let edits = self.tables.undo(head.number)?.len() as u64;
        Ok(Snapshot { number: head.number, hash: head.seal(), edits })
    }

    /// Goes back to an earlier moment. Gives the newest block then, or `None` when that moment is not part of the chain's past.
    pub(crate) fn revert(&self, head: &SealedHeader, to: Snapshot) -> Result<Option<SealedHeader>, ChainError> {
        let past = self.tables.block(to.number)?.is_some_and(|(header, _)| header.seal() == to.hash);
        if !past
            || to.number > head.number
            || to.number < self.tables.oldest()
            || self.tables.undo(to.number)?.len() < to.edits as usize
        {
            return Ok(None);
        }
        let record = serde_json::to_vec(&to).map_err(unreadable)?;
        let position = self.log.append(REVERT_RECORD, &record).wait()?;
        self.apply_revert(head, to, position).map(Some)
    }

    fn apply_revert(&self, head: &SealedHeader, to: Snapshot, position: Position) -> Result<SealedHeader, ChainError> {
        self.unwind(head, to.number)?;
        let missing = || ChainError::Storage(format!("block {} is missing", to.number));
        let (header, _) = self.tables.block(to.number)?.ok_or_else(missing)?;
        let undo = self.tables.undo(to.number)?;
        for reverse in undo.iter().skip(to.edits as usize).rev() {
            let changes: StateChanges = serde_json::from_slice(reverse).map_err(unreadable)?;
            let tries = self.ground(&header)?.commit(&changes)?;
            self.tables.amend(to.number, &changes, &tries, None, position)?;
        }
        self.tables.forget_edits(to.number, to.edits)?;
        // Also where nothing was to be undone, the tables stand after this record now.
        self.tables.stand(to.number, position)?;
        Ok(header)
    }

    /// Executes a block on its parent, whose state is given; `None` when it cannot be executed.
    pub(crate) fn rebuild(&self, state: StateView, raw: RawBlock) -> Result<Option<Made>, ChainError> {
        let parent = state.header().clone();
        let attributes = BlockAttributes::of(&raw.header);
        if raw.header.parent_hash != parent.seal() || raw.header.timestamp <= parent.timestamp {
            return Ok(None);
        }
        if self.spec.rollup().is_some_and(|rollup| !rollup.check_extra_data(&raw.header)) {
            return Ok(None);
        }
        let mut given = Given { transactions: VecDeque::new(), refused: false };
        for transaction in raw.body.transactions {
            let Ok(recovered) = disguise::recover(&self.spec, transaction) else { return Ok(None) };
            given.transactions.push_back(Arc::new(recovered));
        }
        let ground = state.ground().clone();
        let executed = execute::execute(&self.spec, state, &attributes, &mut given)?;
        if given.refused {
            return Ok(None);
        }
        self.close(&parent, &ground, &attributes, executed).map(Some)
    }

    /// Makes a block of what was executed on `parent`, at the end of which the state is `ground`: tries and header.
    pub(crate) fn close(
        &self,
        parent: &SealedHeader,
        ground: &Ground,
        attributes: &BlockAttributes,
        executed: Executed,
    ) -> Result<Made, ChainError> {
        let tries = ground.commit(&executed.changes)?;
        let header = execute::header(&self.spec, parent, attributes, &executed, ground.roots(&tries)?).seal_slow();
        Ok(Made { header, executed, tries })
    }

    /// Transactions of a block with their outcomes.
    pub(crate) fn transactions(&self, number: u64, body: &[u8]) -> Result<Vec<ExecutedTransaction>, ChainError> {
        outcomes(&self.spec, decode_block(body)?.body.transactions, self.tables.receipts(number)?)
    }

    // --- starting -----------------------------------------------------------------------------------------------------------

    /// Brings the tables up to the end of the log; returns the newest block.
    fn catch_up(&self) -> Result<SealedHeader, ChainError> {
        let standing = self.tables.standing()?;
        let mut head = match standing {
            Some(standing) => self.tables.block(standing.block)?.map(|(header, _)| header),
            None => None,
        };
        for record in self.log.records(standing.map_or(self.log.start(), |standing| standing.position)) {
            let record = record?;
            if standing.is_some_and(|standing| standing.position == record.position) {
                continue;
            }
            head = match (record.kind, head) {
                (GENESIS_RECORD, None) => Some(self.begin(record.position)?),
                (BLOCK_RECORD, Some(head)) => Some(self.replay(head, &record)?),
                (EDIT_RECORD, Some(head)) => {
                    let edits: Vec<Edit> = serde_json::from_slice(&record.payload).map_err(unreadable)?;
                    self.apply_edits(&head, &edits, record.position)?;
                    Some(head)
                }
                (REVERT_RECORD, Some(head)) => {
                    let to: Snapshot = serde_json::from_slice(&record.payload).map_err(unreadable)?;
                    Some(self.apply_revert(&head, to, record.position)?)
                }
                (_, head) => head,
            };
        }
        head.ok_or_else(|| ChainError::Storage("the block log holds no genesis".into()))
    }

    fn begin(&self, position: Position) -> Result<SealedHeader, ChainError> {
        let changes = genesis::changes(&self.genesis);
        let ground = Ground::nothing(Arc::clone(&self.tables));
        let tries = ground.commit(&changes)?;
        let header = genesis::header(&self.genesis, &self.spec, ground.roots(&tries)?).seal_slow();
        self.tables.apply(&header, &[], &changes, &tries, position)?;
        self.tables.begin_at(header.number)?;
        Ok(header)
    }

    /// Executes a block of the log again, unless it is part of the chain already.
    fn replay(&self, head: SealedHeader, record: &store::Record) -> Result<SealedHeader, ChainError> {
        let (_, body) = split_record(&record.payload)?;
        let raw = decode_block(&body)?;
        let claimed = raw.header.hash_slow();
        if self.tables.number_of(claimed)?.is_some() {
            return Ok(head);
        }
        let Some(parent) = self.tables.number_of(raw.header.parent_hash)? else { return Ok(head) };
        let Some((parent, _)) = self.tables.block(parent)? else { return Ok(head) };
        let number = raw.header.number;
        let state = StateView::new(self.ground(&parent)?, Arc::new(parent));
        match self.rebuild(state, raw)? {
            Some(Made { header, executed, tries }) if header.seal() == claimed => {
                self.lead(&head, &header, &executed, &tries, record.position)?;
                Ok(header)
            }
            _ => Err(ChainError::Storage(format!(
                "block {number} of the log does not come out as it was: the tables are damaged, delete the tables folder"
            ))),
        }
    }
}

/// Transactions out of the log with the outcomes that the tables hold.
fn outcomes(
    spec: &ChainSpec,
    transactions: Vec<Transaction>,
    receipts: Vec<Receipt>,
) -> Result<Vec<ExecutedTransaction>, ChainError> {
    if transactions.len() != receipts.len() {
        return Err(ChainError::Storage("a block has not as many receipts as transactions".into()));
    }
    let (mut logs, mut gas) = (0, 0);
    transactions
        .into_iter()
        .zip(receipts)
        .map(|(transaction, receipt)| {
            let unsigned = |error| ChainError::Storage(format!("a transaction in the log has no sender: {error}"));
            let (transaction, sender) = disguise::recover(spec, transaction).map_err(unsigned)?.into_parts();
            let executed = execute::outcome(transaction, sender, receipt, gas, logs);
            logs += executed.receipt.logs().len() as u64;
            gas += executed.gas_used;
            Ok(executed)
        })
        .collect()
}

/// The transactions of another's block, all of which must be executed.
struct Given {
    transactions: VecDeque<Arc<Recovered<Transaction>>>,
    refused: bool,
}

impl Feed for Given {
    fn next(&mut self, _gas_left: u64) -> Option<Arc<Recovered<Transaction>>> {
        if self.refused { None } else { self.transactions.pop_front() }
    }

    fn refused(&mut self, _transaction: &Recovered<Transaction>, _reason: Refused) {
        self.refused = true;
    }
}

/// The genesis of the chain in the log. A new log takes the one given.
fn founded(log: &Log, given: Option<Genesis>) -> Result<Genesis, ChainError> {
    if let Some(record) = log.records(log.start()).next() {
        let record = record?;
        if record.kind != GENESIS_RECORD {
            return Err(ChainError::Storage("the block log does not begin with a genesis".into()));
        }
        let stored: Genesis = serde_json::from_slice(&record.payload).map_err(unreadable)?;
        return match given {
            Some(given) if given != stored => Err(ChainError::Genesis(format!(
                "the data folder holds a chain with another beginning (its chain id is {}): choose another folder, or leave the genesis out to go on with that chain",
                stored.config.chain_id
            ))),
            _ => Ok(stored),
        };
    }
    let genesis = given.ok_or_else(|| ChainError::Genesis("a new chain needs one".into()))?;
    // Refused before anything is written.
    ChainSpec::new(genesis.config.clone())?;
    let record = serde_json::to_vec(&genesis).map_err(unreadable)?;
    log.append(GENESIS_RECORD, &record).wait()?;
    Ok(genesis)
}

/// The RLP of a block whose transactions have this RLP, one after the other.
pub(crate) fn encode_block(header: &SealedHeader, transactions: &[u8]) -> Vec<u8> {
    let list = |payload: &[u8], out: &mut Vec<u8>| {
        alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(out);
        out.extend_from_slice(payload);
    };
    // Room for the header and the lists' own headers.
    let mut fields = Vec::with_capacity(transactions.len() + 1_024);
    header.inner().encode(&mut fields);
    list(transactions, &mut fields);
    // There are no ommers, nor withdrawals where blocks have a list of them.
    list(&[], &mut fields);
    if header.withdrawals_root.is_some() {
        list(&[], &mut fields);
    }
    let mut block = Vec::with_capacity(fields.len() + 16);
    list(&fields, &mut block);
    block
}

pub(crate) fn decode_block(mut body: &[u8]) -> Result<RawBlock, ChainError> {
    RawBlock::decode(&mut body).map_err(|error| ChainError::Storage(format!("a block cannot be read: {error}")))
}

fn split_record(record: &bytes::Bytes) -> Result<(Slot, bytes::Bytes), ChainError> {
    let Some((slot, _)) = record.split_first_chunk::<8>() else {
        return Err(ChainError::Storage("a block record in the log is too short".into()));
    };
    Ok((Slot::new(u64::from_be_bytes(*slot)), record.slice(8..)))
}

fn unreadable(error: serde_json::Error) -> ChainError {
    ChainError::Storage(format!("a record of the block log: {error}"))
}
