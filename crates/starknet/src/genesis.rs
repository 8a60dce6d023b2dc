//! Block 0: from a seed or from a file.

use starknet_api::core::{ClassHash, ContractAddress};
use starknet_types_core::felt::Felt;

/// An account that genesis deployed, with its key: for development only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredeployedAccount {
    /// Address.
    pub address: ContractAddress,
    /// STARK public key.
    pub public_key: Felt,
    /// STARK private key. Never logged; shown in the banner of a development chain only.
    pub private_key: Felt,
    /// Class of the account.
    pub class_hash: ClassHash,
    /// Balance in each fee token, smallest unit.
    pub balance: u128,
}
