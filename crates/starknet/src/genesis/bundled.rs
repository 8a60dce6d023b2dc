//! Classes that come with the program, by name. Origin and licence: `assets/README.md`.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::classes::{ClassError, DeclaredClass};

/// What a class path in a genesis file begins with to name a bundled class.
pub const PREFIX: &str = "bundled:";

/// OpenZeppelin account 1.0.0; constructor (public key).
pub const OZ_ACCOUNT: &str = "oz_account_1.0.0";
/// STRK token; constructor (name, symbol, decimals, initial supply, recipient, minter, governance admin, upgrade delay).
pub const STRK: &str = "erc20_strk";
/// ETH token; constructor as [`STRK`].
pub const ETH: &str = "erc20_eth";
/// Universal deployer of 2024.
pub const UDC: &str = "udc_2";
/// Universal deployer before, Cairo 0.
pub const UDC_LEGACY: &str = "udc_legacy";

/// Names and compressed JSON.
const CLASSES: [(&str, &[u8]); 6] = [
    (OZ_ACCOUNT, include_bytes!("../../assets/oz_account_1.0.0.sierra.json.gz")),
    ("oz_account_0.5.1", include_bytes!("../../assets/oz_account_0.5.1.json.gz")),
    (STRK, include_bytes!("../../assets/erc20_strk.sierra.json.gz")),
    (ETH, include_bytes!("../../assets/erc20_eth.sierra.json.gz")),
    (UDC, include_bytes!("../../assets/udc_2.sierra.json.gz")),
    (UDC_LEGACY, include_bytes!("../../assets/udc_legacy_oz_0.5.0.json.gz")),
];

/// Names of all bundled classes.
pub fn names() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(name, _)| *name)
}

/// A bundled class, compiled; `None` for an unknown name. Takes up to half a second.
pub fn class(name: &str) -> Option<Result<DeclaredClass, ClassError>> {
    let (_, packed) = CLASSES.iter().find(|(known, _)| *known == name)?;
    let mut json = String::new();
    let read = GzDecoder::new(*packed).read_to_string(&mut json);
    Some(read.map_err(|error| ClassError::Parse(error.to_string())).and_then(|_| DeclaredClass::from_json(&json)))
}
