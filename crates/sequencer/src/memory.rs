//! What the heart remembers across restarts.

use serde::{Deserialize, Serialize};
use types::{Certificate, Payload, Vow};

use crate::Record;

/// The records of all earlier runs, folded: feed every [`Record`] in the order in which it was persisted.
///
/// Stays small however many records there were: it keeps the newest promise, the newest lock, the newest certificate and the payloads
/// that these name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub(crate) vow: Option<Vow>,
    pub(crate) lock: Option<Certificate>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) decided: Option<Payload>,
    payloads: Vec<Payload>,
}

impl Memory {
    /// Takes in the next record.
    pub fn remember(&mut self, record: Record) {
        match record {
            Record::Payload(payload) => self.decided = Some(payload),
            Record::Vow { vow, payload, lock } => {
                self.vow = Some(vow);
                self.lock = lock.or(self.lock.take());
                self.payloads.extend(payload);
            }
            Record::Certificate(certificate) => {
                if self.lock.as_ref().is_some_and(|lock| lock.vow.block.number <= certificate.vow.block.number) {
                    self.lock = None;
                }
                self.certificate = Some(certificate);
            }
        }
        self.forget_unnamed();
    }

    /// The payloads that something remembered names.
    pub(crate) fn payloads(&self) -> &[Payload] {
        &self.payloads
    }

    fn forget_unnamed(&mut self) {
        let named = [
            self.vow.map(|vow| vow.block.hash),
            self.lock.as_ref().map(|lock| lock.vow.block.hash),
            self.certificate.as_ref().map(|certificate| certificate.vow.block.hash),
        ];
        let mut seen = Vec::with_capacity(named.len());
        self.payloads.retain(|payload| {
            let hash = payload.block.hash;
            let keep = named.contains(&Some(hash)) && !seen.contains(&hash);
            seen.push(hash);
            keep
        });
    }
}
