//! Known mistakes that can be switched on to see whether a test notices.
//!
//! Only with the feature `mutants`, which nothing but the simulator enables, is there a switch; otherwise [`Mutation::is`] is
//! constantly false and the compiler removes the branches.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "public with the switch alone"))]
pub enum Mutant {
    /// Conductor: announce a payload when it is given to the conductor, not when the conductor holds it.
    GossipBeforeCommit,
    /// Conductor: take an unclear commit for a good one.
    TrustUnclearCommit,
    /// Conductor: go on building after leadership is lost.
    SealWithoutLeadership,
    /// Conductor: lead without asking where the conductor's chain stands.
    LeadWithoutAsking,
    /// Conductor: give up a payload whose commit failed, and build another.
    RebuildOnRetry,
    /// Committee: forget vows and locks on restart.
    ForgetVow,
    /// Committee: send a vow before it is durable.
    SpeakBeforePersist,
    /// Committee: half the members make a quorum.
    HalfQuorum,
    /// Committee: count signatures instead of members.
    CountSignatures,
    /// Committee: propose without the parent's certificate.
    OmitParentCertificate,
    /// Committee: endorse whatever is valid, locked or not.
    IgnoreLock,
    /// Committee: vow as often as asked.
    VowTwice,
    /// Committee: announce what is proposed.
    AnnounceProposal,
    /// On demand: forget that a demand is answered when it was unclear whether the heads were set.
    LoseUnclearAnswer,
    /// Any: act on answers to what is no longer asked.
    AcceptStale,
    /// Any: drop a decided payload whose import failed.
    DropOnImportFailure,
    /// Any: ask a backend that refuses everything where it stands, at once and for ever.
    AskWithoutPatience,
    /// Solo: announce before the payload is durable.
    AnnounceBeforePersist,
    /// Any: after downtime, build for every slot that was missed.
    BurstAfterDowntime,
    /// Any: let heads that come from L1 go back.
    HeadsGoBack,
    /// Adaptive lead: follow the slowest block, be it the only slow one.
    ChaseOutlier,
    /// Adaptive lead: seal as early as it takes, however early that is.
    LeadWithoutBound,
    /// L1 origins: cite the next L1 block although it is later than the block.
    AdvanceEarly,
    /// L1 origins: build on past the drift without knowing the next L1 block.
    StayPastDrift,
    /// L1 origins: take transactions from the pool past the drift.
    PoolPastDrift,
    /// L1 origins: go on citing what L1 no longer has.
    StayOnLostOrigin,
    /// L1 origins: take transactions from the pool while recovering.
    RecoverWithPool,
    /// L1 origins: never recover without the operator.
    NeverRecover,
    /// L1 origins: build however little has landed.
    IgnoreSafeLag,
    /// L1 origins: believe what was looked up before a reorganisation.
    IgnoreReorganisation,
    /// L1 origins: leave out the slots that were missed.
    SkipSlots,
}

/// The mistake switched on, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mutation {
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl Mutation {
    /// Switches a mistake on.
    #[cfg(feature = "mutants")]
    pub(crate) const fn of(mutant: Option<Mutant>) -> Self {
        Self { mutant }
    }

    /// Is this mistake to be made?
    #[cfg(feature = "mutants")]
    pub(crate) fn is(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Is this mistake to be made? Never.
    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn is(self, _mutant: Mutant) -> bool {
        false
    }
}
