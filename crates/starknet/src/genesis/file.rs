//! Genesis files.

use std::path::Path;
use std::sync::Arc;

use blockifier::context::BlockContext;
use blockifier::state::cached_state::CachedState;

use super::{Empty, Plan, PredeployedAccount};
use crate::chain::ChainError;
use crate::rules::Rules;

#[derive(Debug)]
pub(crate) struct PlannedTransaction {}

pub(super) fn accounts(_path: &Path) -> Vec<PredeployedAccount> {
    Vec::new()
}

pub(super) fn plan(path: &Path, _rules: &Rules) -> Result<Plan, ChainError> {
    Err(ChainError::Genesis(format!("{}: not read yet", path.display())))
}

pub(super) fn run_transactions(
    _state: &mut CachedState<Empty>,
    _context: &Arc<BlockContext>,
    _transactions: &[PlannedTransaction],
) -> Result<(), ChainError> {
    Ok(())
}
