//! From decided to part of the chain: import, set heads, publish.
//!
//! ```text
//!   decided ──► Import ⇢ valid ──► SetHeads · Publish (if we led) ⇢ set ──► the next build may open
//! ```

use serde::{Deserialize, Serialize};
use types::{Announcement, BlockHash, BlockRef, Heads, Payload, Timestamp};

use crate::attempt::Attempt;
use crate::{Effect, Effects};

/// A payload that may become part of the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decided {
    /// The payload and its proof.
    pub(crate) announcement: Announcement,
    /// Did we lead its slot? Then we announce and publish it.
    pub(crate) led: bool,
}

impl Decided {
    /// The block.
    pub(crate) const fn block(&self) -> BlockRef {
        self.announcement.payload.block
    }
}

/// The one payload on its way into the chain, the one import, and the one setting of heads that may be outstanding.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Publication {
    /// Decided and right above the head. Held, and imported again if need be, until it is the head.
    pub(crate) deciding: Option<Decided>,
    import: Option<Import>,
    setting: Option<Setting>,
    /// The head, until the backend says that it is: should it turn out to have lost it, it is at hand.
    unconfirmed: Option<Announcement>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Import {
    payload: Payload,
    attempt: Attempt,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Setting {
    heads: Heads,
    attempt: Attempt,
}

impl Publication {
    /// Does this answer the outstanding import?
    pub(crate) fn imports(&self, block: BlockHash) -> bool {
        self.import.as_ref().is_some_and(|import| import.payload.block.hash == block)
    }

    /// Is any import outstanding?
    pub(crate) const fn is_importing(&self) -> bool {
        self.import.is_some()
    }

    /// Does this answer the outstanding setting of heads?
    pub(crate) fn sets(&self, block: BlockHash) -> bool {
        self.setting.is_some_and(|setting| setting.heads.unsafe_head().hash == block)
    }

    /// Are heads being set?
    pub(crate) const fn is_setting(&self) -> bool {
        self.setting.is_some()
    }

    /// Is nothing on its way into the chain?
    pub(crate) const fn is_idle(&self) -> bool {
        self.deciding.is_none() && self.setting.is_none()
    }

    /// Orders an import. There must be none outstanding.
    pub(crate) fn import(&mut self, payload: Payload, effects: &mut Effects) {
        effects.push(Effect::Import(payload.clone()));
        self.import = Some(Import { payload, attempt: Attempt::default() });
    }

    /// The import was answered for good.
    pub(crate) fn take_import(&mut self) -> Option<Payload> {
        self.import.take().map(|import| import.payload)
    }

    /// The import failed in passing.
    pub(crate) fn import_failed(&mut self, failed: impl FnOnce(&mut Attempt)) {
        if let Some(import) = &mut self.import {
            failed(&mut import.attempt);
        }
    }

    /// The decided payload is imported: it is to be the head, and is kept until it is.
    pub(crate) fn canonical(&mut self, announcement: Announcement, heads: Heads, effects: &mut Effects) {
        self.unconfirmed = Some(announcement);
        self.set_heads(heads, effects);
    }

    /// The backend stands elsewhere than we thought: all that is decided and may be missing there. Orders that failed are not given
    /// again: what is to be imported first may be something else.
    pub(crate) fn take_decided(&mut self) -> impl Iterator<Item = Decided> + use<> {
        self.setting = None;
        self.import.take_if(|import| import.attempt.again().is_some());
        let unconfirmed = self.unconfirmed.take().map(|announcement| Decided { announcement, led: false });
        unconfirmed.into_iter().chain(self.deciding.take())
    }

    /// Orders the heads to be set, in place of an older such order.
    pub(crate) fn set_heads(&mut self, heads: Heads, effects: &mut Effects) {
        self.setting = Some(Setting { heads, attempt: Attempt::default() });
        effects.push(Effect::SetHeads(heads));
    }

    /// The heads that were ordered are set. Says which.
    pub(crate) fn take_setting(&mut self) -> Option<Heads> {
        self.unconfirmed = None;
        self.setting.take().map(|setting| setting.heads)
    }

    /// Setting the heads failed in passing.
    pub(crate) fn setting_failed(&mut self, failed: impl FnOnce(&mut Attempt)) {
        if let Some(setting) = &mut self.setting {
            failed(&mut setting.attempt);
        }
    }

    /// Drops a failed import that nobody `wants` any more, and repeats what else failed.
    pub(crate) fn advance(&mut self, now: Timestamp, wants: impl Fn(BlockHash) -> bool, effects: &mut Effects) {
        if let Some(import) = &mut self.import
            && import.attempt.take_due(now)
        {
            if wants(import.payload.block.hash) {
                effects.push(Effect::Import(import.payload.clone()));
            } else {
                self.import = None;
            }
        }
        if let Some(setting) = &mut self.setting
            && setting.attempt.take_due(now)
        {
            effects.push(Effect::SetHeads(setting.heads));
        }
    }

    /// When [`Publication::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let import = self.import.as_ref().and_then(|import| import.attempt.again());
        let setting = self.setting.and_then(|setting| setting.attempt.again());
        import.into_iter().chain(setting).min()
    }
}
