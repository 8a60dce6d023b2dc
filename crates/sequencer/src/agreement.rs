//! Who may lead a slot, and when a payload is decided.

mod committee;
mod conductor;
mod solo;
mod tally;

pub(crate) use committee::{Council, Scene};
pub(crate) use conductor::{Conductor, Told};
pub(crate) use solo::Solo;

use serde::{Deserialize, Serialize};
use types::BlockHash;

use crate::mutants::Mutation;
use crate::{AgreementConfig, Memory, Timetable};

/// One of the three ways to agree.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one a process")]
pub(crate) enum Agreement {
    Solo(Solo),
    Conductor(Conductor),
    Committee(Box<Council>),
}

impl Agreement {
    /// The agreement of this configuration, as it was when the process ended.
    pub(crate) fn recover(config: &AgreementConfig, timetable: Timetable, memory: Memory, mutation: Mutation) -> Self {
        match config {
            AgreementConfig::Solo | AgreementConfig::OnDemand => Self::Solo(Solo),
            AgreementConfig::Conductor => Self::Conductor(Conductor::new(mutation)),
            AgreementConfig::Committee { committee, me, began, resend } => {
                let council = Council::recover(*committee, *me, *began, *resend, timetable, memory, mutation);
                Self::Committee(Box::new(council))
            }
        }
    }

    /// Is this payload still worth importing before it is decided?
    pub(crate) fn wants(&self, block: BlockHash) -> bool {
        match self {
            Self::Solo(_) | Self::Conductor(_) => false,
            Self::Committee(council) => council.wants(block),
        }
    }
}
