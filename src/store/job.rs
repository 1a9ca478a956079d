//! What the writer is asked to do: one row a request, with what goes in, what comes out, and where it is done.

use super::books::Books;
use super::change::{Change, Changed};
use super::cooling::{ConfirmLimits, PendingLimit};
use super::document::{Applied, Document, Preview};
use super::door::{
    Answered, Claim, Claimed, Corrected, CreditsAdded, Deleted, EndGrant, Extend, Forget, Forgotten, Funds, GrantAdded,
    GrantRow, Keep, NamePayer, NewGrant, OpenLeg, Opened, Orphan, Raise, Reconciled, Refund, Reprice, Repriced,
    Rerouted, Settle,
};
use super::fault::StoreError;
use super::hot::{DialBlock, HotOrder, HotReport, Lift};
use super::remove::{Removal, Removed};
use super::revoke::{Revoke, Revoked};
use super::token::{NewToken, Revocation, Token};
use super::trail::{Turned, Who};
use super::{
    apply, change, cooling, correct, credits, dialog, grant, guess, hot, leg, outbox, person, reconcile, recover,
    remove, revoke, scrub, settle, token, trail,
};
use crate::clock::Wall;
use crate::form::Mistake;
use crate::notice::Report;
use crate::rating::UsageRecord;
use crate::trunk::KeptTries;
use crate::types::{LegId, OrganisationId, TokenName};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Where the answer goes. Whoever asked may have gone: then it goes nowhere, and the books are right all the same.
pub(super) type Reply<A> = oneshot::Sender<Result<A, StoreError>>;

macro_rules! jobs {
    ($($(#[$attribute:meta])* $name:ident($input:ty) -> $answer:ty = $done_by:path;)*) => {
        pub(super) enum Job {
            $($(#[$attribute])* $name(Box<$input>, Reply<$answer>),)*
        }

        /// What was done and is told only once it is durable. A batch holds some hundred of them at once: their size
        /// does not matter.
        #[allow(clippy::large_enum_variant)]
        pub(super) enum Done {
            $($(#[$attribute])* $name(Box<$input>, Result<$answer, StoreError>, Reply<$answer>),)*
        }

        impl Job {
            pub async fn run(self, books: &mut Books) -> Done {
                match self {
                    $($(#[$attribute])* Job::$name(input, reply) => {
                        let result = $done_by(books, &input).await;
                        Done::$name(input, result, reply)
                    })*
                }
            }

            /// Answers without having done anything.
            pub fn refuse(self, fault: StoreError) {
                match self {
                    $($(#[$attribute])* Job::$name(_, reply) => drop(reply.send(Err(fault))),)*
                }
            }
        }

        impl Done {
            pub fn fault(&self) -> Option<&StoreError> {
                match self {
                    $($(#[$attribute])* Done::$name(_, result, _) => result.as_ref().err(),)*
                }
            }

            /// What could not be written was not done.
            pub fn failing(self, written: &Result<(), StoreError>) -> Done {
                match self {
                    $($(#[$attribute])* Done::$name(input, result, reply) => {
                        Done::$name(input, written.clone().and(result), reply)
                    })*
                }
            }

            /// What was done was taken back: it is to be done again.
            pub fn again(self) -> Job {
                match self {
                    $($(#[$attribute])* Done::$name(input, _, reply) => Job::$name(input, reply),)*
                }
            }

            /// Tells the answer, or that the whole batch failed.
            pub fn tell(self, fate: &Result<(), StoreError>) {
                match self {
                    $($(#[$attribute])* Done::$name(_, result, reply) => {
                        drop(reply.send(fate.clone().and(result)));
                    })*
                }
            }
        }
    };
}

impl Job {
    /// Those that legs ask all the time are worked out together and written at once: see [`sheet`](super::sheet).
    pub fn is_of_a_leg(&self) -> bool {
        matches!(
            self,
            Job::Open(..)
                | Job::Payer(..)
                | Job::Answer(..)
                | Job::Lead(..)
                | Job::Reroute(..)
                | Job::Extend(..)
                | Job::Settle(..)
        )
    }

    /// It leaves alone what the sheet has copies of, or changes it there.
    pub fn leaves_the_sheet(&self) -> bool {
        self.is_of_a_leg()
            || matches!(
                self,
                Job::KeepTries(..) | Job::Raise(..) | Job::Claim(..) | Job::HouseHooks(..) | Job::Remember(..)
            )
    }
}

jobs! {
    Apply((Document, Wall, Who)) -> Result<Applied, Vec<Mistake>> = apply::apply;
    Preview((Document, Wall)) -> Result<Preview, Vec<Mistake>> = apply::preview;
    Change((Change, Wall, Who)) -> Result<Changed, Vec<String>> = change::change;
    Remove((Removal, Wall, Who)) -> Result<Removed, String> = remove::remove;
    MakeToken((NewToken, Who)) -> Token = token::make;
    RevokeToken((Revocation, Wall, Who)) -> Vec<TokenName> = token::revoke;
    ConfirmLimits((ConfirmLimits, Who)) -> Vec<PendingLimit> = cooling::confirm;
    Hot((HotOrder, Wall, Who)) -> HotReport = hot::order;
    Lift((Lift, Who)) -> Vec<DialBlock> = hot::lift;
    Open(OpenLeg) -> Opened = leg::open;
    Payer(NamePayer) -> Opened = leg::name_payer;
    Answer(Answered) -> () = leg::answered;
    Lead(LegId) -> () = leg::lead;
    Reroute(Rerouted) -> () = leg::rerouted;
    Extend(Extend) -> Opened = leg::extend;
    Settle(Settle) -> UsageRecord = settle::settle;
    Revoke((Revoke, Who)) -> Revoked = revoke::revoke;
    Credits((Funds, Who)) -> CreditsAdded = credits::add_told;
    Refund((Refund, Who)) -> Corrected = correct::refund_told;
    Reprice((Reprice, Who)) -> Vec<Repriced> = correct::rerate_told;
    AddGrant((NewGrant, Who)) -> GrantAdded = grant::add_told;
    EndGrant((EndGrant, Who)) -> GrantRow = grant::end_told;
    Expire((Wall, Option<OrganisationId>)) -> Vec<OrganisationId> = grant::expire;
    KeepTries((Vec<KeptTries>, Wall)) -> () = guess::keep;
    Raise(Raise) -> bool = outbox::raise;
    Claim(Claim) -> Claimed = outbox::claim;
    Report((Report, Wall)) -> Option<OrganisationId> = outbox::report;
    HouseHooks(()) -> () = outbox::switch_on_the_house;
    Recover((HashMap<LegId, u64>, Wall)) -> Vec<Orphan> = recover::recover;
    Buried(Vec<LegId>) -> () = dialog::ended;
    Forget((Forget, Wall, Who)) -> Forgotten = person::forget_told;
    Scrub(scrub::Place) -> Option<scrub::Place> = scrub::step;
    Keep((Keep, Wall, Who)) -> u64 = person::keep_told;
    Deleted((Deleted, Wall, Who)) -> () = person::deleted;
    TurnAway((Turned, Who)) -> () = trail::turned_away;
    Remember(Reconciled) -> bool = reconcile::remember;
    // Does what no request ever may: for tests of what then happens.
    #[cfg(test)]
    Tamper(&'static str) -> () = super::books::tamper;
    #[cfg(test)]
    Plant(&'static str) -> Vec<super::door::Difference> = super::books::plant;
}
