//! Remembers; the only room with SQL. Runs rating's decisions inside a transaction.
//!
//! [`Store`] is the door. What changes the books goes through one writer, which answers only when the change is on the
//! disk (`io`); what only asks reads a snapshot beside it. Facts (organisations, meetings, numbers, carriers, the
//! deck) are in memory as one immutable [`Facts`], made anew at each `apply`.
//!
//! Every step of a leg has a key. A repeat changes nothing and is given the first answer, so whoever lost an answer
//! asks again.

mod ahead;
mod apply;
mod audit;
mod books;
mod cap;
mod change;
mod check;
mod cooling;
mod copy;
mod correct;
mod credits;
mod dialog;
mod document;
mod door;
mod draft;
mod draw;
mod entry;
mod facts;
mod fault;
mod gift;
mod grant;
mod guess;
mod home;
mod hot;
mod io;
mod job;
mod known;
mod leg;
mod licence;
mod life;
mod lock;
mod manner;
mod outbox;
mod permit;
mod person;
mod pin;
mod recent;
mod recharge;
mod reconcile;
mod recover;
mod rehearsal;
mod remove;
mod report;
mod revoke;
mod rows;
mod schema;
mod scrub;
mod settle;
mod sheet;
mod spending;
mod sql;
#[cfg(test)]
mod tests;
mod threshold;
mod token;
mod trail;
mod walk;
mod wishes;

pub use change::{Change, ChangeStep, Changed};
pub use cooling::{ConfirmLimits, CooledLimit, LimitsOf, PendingLimit};
pub use copy::{Copied, CopyError, Pins, Restored, Sealed, backup, restore};
pub use document::{Applied, Document, LARGEST_FILE, LONGEST_LOCK, Preview};
pub use door::{
    AlertView, Answered, AsOf, Balance, Claim, Claimed, Corrected, Correction, CorrectionKind, CreditsAdded, Deleted,
    Difference, End, EndGrant, Extend, Forget, Forgotten, FundingRow, Funds, FundsKind, Grant, GrantAdded, GrantRow,
    Keep, LetterView, LiveLeg, MonthRow, NamePayer, NewGrant, OpenLeg, Opened, Options, Orphan, PoolState, Quote,
    QuoteRequest, Raise, RechargeView, Reconciled, Refund, Reprice, Repriced, Rerating, Rerouted, Settle, Shown,
    SwitchedOff, UsageFilter, Which, Whom,
};
pub use entry::{EntryId, EntryKind, MOST_ENTRIES};
pub use facts::{
    AlertSettings, Facts, HOUSE, Limits, LowBalance, Meeting, OnEmpty, Organisation, RechargeSettings, User,
};
pub use fault::{OpenError, StoreError};
pub use gift::USUAL_PRIORITY;
pub use hot::{
    Destination, DialBlock, HotFilter, HotListRow, HotOrder, HotReport, HotRow, HotStep, Lift, MOST_HOT_ROWS,
};
pub use io::{check_url, file_of, folder_of, key_file_of};
pub use licence::{SeatRow, Seats, Term, Terms};
pub use lock::{Lock, Locker};
pub use permit::MOST_REVIEWED;
pub use rehearsal::{Editions, Rehearsal};
pub use remove::{Removal, Removed};
pub use revoke::{Revoke, Revoked};
pub use sql::shown;
pub use token::{MOST_TOKENS, NewToken, Revocation, Role, Token};
pub use trail::{MOST_TRAIL_ROWS, OWNER, TrailDoor, TrailFilter, TrailRow, Turned, Who};
pub use wishes::{mails, secret};

use crate::clock::Wall;
use crate::form::Mistake;
use crate::notice::Report;
use crate::rating::UsageRecord;
use crate::rating::ledger::Entry;
use crate::rating::reconcile::Ours;
use crate::trunk::{KeptTries, Sight};
use crate::types::{CarrierId, Cause, LegId, Micros, OrganisationId, TokenName};
use io::Desk;
use job::Job;
use sql::Connection;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// An open store. Clones share it; it closes, and its lock is free, when the last is gone and the writer is done.
#[derive(Clone, Debug)]
pub struct Store {
    desk: Arc<Desk>,
    /// Whose changes these are, in the trail.
    who: Who,
    node: Arc<str>,
}

impl Store {
    /// Opens (or makes) the store that `url` names: `sqlite:data/tollbridge.db`, `postgres://user@host/database`. One process
    /// at a time, but for nodes of different names on one PostgreSQL.
    pub async fn open(url: &str, options: Options) -> Result<Store, OpenError> {
        let desk = io::open(url, &options).await?;
        Ok(Store { desk: Arc::new(desk), who: Who::default(), node: options.node.into() })
    }

    /// The same store in the hands of `who`: what is changed through it stands in the trail under that name.
    pub fn by(&self, who: Who) -> Store {
        Store { desk: self.desk.clone(), who, node: self.node.clone() }
    }

    /// Where its files are: what belongs to a store stands in it.
    pub fn folder(&self) -> &Path {
        self.desk.home.folder()
    }

    /// What it is called where people read it: no password is in it.
    pub fn place(&self) -> &str {
        &self.desk.place
    }

    // ----------------------------------------------------------------------------------------------------------- facts

    /// What there is, now.
    pub fn facts(&self) -> Arc<Facts> {
        self.desk.facts.borrow().clone()
    }

    /// What there is, and each change of it.
    pub fn changes(&self) -> watch::Receiver<Arc<Facts>> {
        self.desk.facts.clone()
    }

    /// Brings a file into the store, all of it or (with every mistake told) nothing. Repeatable; touches no live leg.
    pub async fn apply(&self, document: Document, now: Wall) -> Result<Result<Applied, Vec<Mistake>>, StoreError> {
        self.desk.ask((document, now, self.who.clone()), Job::Apply).await
    }

    /// What a file would change, or every mistake: nothing is, whichever it is.
    pub async fn preview(&self, document: Document, now: Wall) -> Result<Result<Preview, Vec<Mistake>>, StoreError> {
        self.desk.ask((document, now), Job::Preview).await
    }

    /// Changes one entry, or tells every mistake. Repeatable; touches no live leg.
    pub async fn change(&self, change: Change, now: Wall) -> Result<Result<Changed, Vec<String>>, StoreError> {
        self.desk.ask((change, now, self.who.clone()), Job::Change).await
    }

    /// Writes into the trail that a file or a change was refused before it came this far.
    pub async fn turn_away(&self, turned: Turned) -> Result<(), StoreError> {
        self.desk.ask((turned, self.who.clone()), Job::TurnAway).await
    }

    /// Removes one entry, or tells what still needs it.
    pub async fn remove(&self, removal: Removal, now: Wall) -> Result<Result<Removed, String>, StoreError> {
        self.desk.ask((removal, now, self.who.clone()), Job::Remove).await
    }

    /// Makes a token of the API: as it came to be, no stronger than the one by which it was asked for, and ending with it.
    pub async fn make_token(&self, new: NewToken) -> Result<Token, StoreError> {
        self.desk.ask((new, self.who.clone()), Job::MakeToken).await
    }

    /// Takes a token of the API back, and all that come from it: their names, the one asked for first.
    pub async fn revoke_token(&self, revocation: Revocation, now: Wall) -> Result<Vec<TokenName>, StoreError> {
        self.desk.ask((revocation, now, self.who.clone()), Job::RevokeToken).await
    }

    /// Lets limits that were raised, and whose raise waits, hold at once.
    pub async fn confirm_limits(&self, confirm: ConfirmLimits) -> Result<Vec<PendingLimit>, StoreError> {
        self.desk.ask((confirm, self.who.clone()), Job::ConfirmLimits).await
    }

    /// Changes a list of hot numbers, or tells what an order would change (`dry_run`).
    pub async fn hot_order(&self, order: HotOrder, dry_run: bool, now: Wall) -> Result<HotReport, StoreError> {
        if dry_run {
            return hot::differences(&mut self.reader().await?, &order).await;
        }
        self.desk.ask((order, now, self.who.clone()), Job::Hot).await
    }

    /// Lists of hot numbers, by their names.
    pub async fn hot_lists(&self) -> Result<Vec<HotListRow>, StoreError> {
        hot::lists(&mut self.reader().await?).await
    }

    /// Entries of them, in the order of their digits: [`MOST_HOT_ROWS`] at most.
    pub async fn hot_rows(&self, filter: &HotFilter) -> Result<Vec<HotRow>, StoreError> {
        hot::rows(&mut self.reader().await?, &self.facts(), filter).await
    }

    /// Opens destinations again that a call to a hot number has closed to an organisation.
    pub async fn lift(&self, lift: Lift) -> Result<Vec<DialBlock>, StoreError> {
        self.desk.ask((lift, self.who.clone()), Job::Lift).await
    }

    // ------------------------------------------------------------------------------------------------------------ legs

    /// A leg is born: journaled, and, where the payer is known, decided and funded.
    pub async fn open_leg(&self, leg: OpenLeg) -> Result<Opened, StoreError> {
        self.desk.ask_or_go(leg, Job::Open).await
    }

    /// The caller has named a meeting: who pays is known now, and the first hold also covers what has elapsed.
    pub async fn name_payer(&self, named: NamePayer) -> Result<Opened, StoreError> {
        self.desk.ask_or_go(named, Job::Payer).await
    }

    /// Charged time begins.
    pub async fn answered(&self, answered: Answered) -> Result<(), StoreError> {
        self.desk.ask(answered, Job::Answer).await
    }

    /// The leg is the organiser's own: where money is short it is paid first.
    pub async fn lead(&self, leg: LegId) -> Result<(), StoreError> {
        self.desk.ask(leg, Job::Lead).await
    }

    /// Another carrier is tried: to be written before it is.
    pub async fn rerouted(&self, rerouted: Rerouted) -> Result<(), StoreError> {
        self.desk.ask_or_go(rerouted, Job::Reroute).await
    }

    /// Holds the next slice.
    pub async fn extend(&self, extend: Extend) -> Result<Opened, StoreError> {
        self.desk.ask(extend, Job::Extend).await
    }

    /// Those of `legs` ([`MOST_REVIEWED`] at most) that may not go on by what there is now, and why: a licence, a policy or
    /// a number is gone, somebody is locked, or their account is closed. Prices are not asked, and nothing is written.
    pub async fn withdrawn(&self, legs: &[LegId], now: Wall) -> Result<Vec<(LegId, Cause)>, StoreError> {
        permit::withdrawn(&mut self.reader().await?, &self.facts(), legs, now).await
    }

    /// The leg is over: charged, the rest given back, its record written. Every leg that was opened is settled, also
    /// one that was refused or never answered (it is charged nothing).
    pub async fn settle(&self, leg: LegId, end: End) -> Result<UsageRecord, StoreError> {
        self.desk.ask(Settle { leg, end }, Job::Settle).await
    }

    /// Ends legs of an organisation in the books, all in one transaction; whoever has their calls ends those then. Whoever was
    /// not answered asks again with the same [`Revoke::ends`], and is told what was ended, then or now.
    pub async fn revoke(&self, asked: Revoke) -> Result<Revoked, StoreError> {
        self.desk.ask((asked, self.who.clone()), Job::Revoke).await
    }

    /// Once a second or more often: how long each live leg has talked, in milliseconds since its answer. On the disk on return.
    pub async fn prove_life(&self, legs: Vec<(LegId, u64)>) -> Result<(), StoreError> {
        self.desk.prove(legs).await
    }

    /// Settles what an earlier life left open, each leg at its last proof of life. To be called once, at the start and
    /// before the first call. Gives the dialogs to end, in the order in which to end them: those, and what else earlier lives
    /// have left. They are given again until they are [buried](Store::buried).
    pub async fn recover(&self, now: Wall) -> Result<Vec<Orphan>, StoreError> {
        let proofs = self.desk.home.proofs()?;
        self.desk.ask((proofs, now), Job::Recover).await
    }

    /// What these legs have left is ended: their BYEs were answered, or said until it was certain that nobody answers.
    pub async fn buried(&self, legs: Vec<LegId>) -> Result<(), StoreError> {
        self.desk.ask(legs, Job::Buried).await
    }

    // ----------------------------------------------------------------------------------------------------------- money

    /// Books a funding or a correction, once a key.
    pub async fn add_credits(&self, funds: Funds) -> Result<CreditsAdded, StoreError> {
        self.desk.ask((funds, self.who.clone()), Job::Credits).await
    }

    /// Gives a leg's charge back, whole or in part, once a key.
    pub async fn refund(&self, refund: Refund) -> Result<Corrected, StoreError> {
        self.desk.ask((refund, self.who.clone()), Job::Refund).await
    }

    /// Prices settled legs again by the prices in use now, as they were at each leg's start, and books the differences,
    /// once a key and leg. Without an order (key and reason) it only tells what would be booked.
    pub async fn rerate(&self, which: &Which, order: Option<(&str, &str)>, at: Wall) -> Result<Rerating, StoreError> {
        let Some((key, reason)) = order else {
            return correct::look(&mut self.reader().await?, &self.facts(), which).await;
        };
        let mut sum = Rerating::default();
        let mut after = report::Place::default();
        loop {
            let legs = report::legs_to_rerate(&mut self.reader().await?, &self.facts(), which, &mut after).await?;
            if legs.is_empty() {
                return Ok(sum);
            }
            let order = Reprice { legs, key: key.to_owned(), reason: reason.to_owned(), at };
            let told = self.desk.ask((order, self.who.clone()), Job::Reprice).await?;
            told.into_iter().for_each(|repriced| sum.count(repriced));
        }
    }

    /// Gives a grant, once an id.
    pub async fn add_grant(&self, new: NewGrant) -> Result<GrantAdded, StoreError> {
        self.desk.ask((new, self.who.clone()), Job::AddGrant).await
    }

    /// Ends a grant: what running legs hold stays theirs, the rest lapses.
    pub async fn end_grant(&self, end: EndGrant) -> Result<GrantRow, StoreError> {
        self.desk.ask((end, self.who.clone()), Job::EndGrant).await
    }

    /// Takes back what has expired by `now`, of fundings and of grants, as far as no running leg holds it: of how many
    /// organisations there was any. What is used is looked at anyway; this is for those that rest.
    pub async fn expire(&self, now: Wall) -> Result<usize, StoreError> {
        let (mut all, mut after) = (0, None);
        loop {
            let done = self.desk.ask((now, after), Job::Expire).await?;
            all += done.len();
            after = done.last().cloned();
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Grants of an organisation in the order of their use; with those that are used up and over (`all`), or without.
    pub async fn grants(&self, organisation: &OrganisationId, all: bool) -> Result<Vec<GrantRow>, StoreError> {
        report::grants(&mut self.reader().await?, &self.facts(), organisation, all).await
    }

    /// What legs of an organisation have left to talk on at `now`, for how long it lasts: credits, and money of grants.
    pub async fn money_left(&self, organisation: &OrganisationId, now: Wall) -> Result<(Micros, u64), StoreError> {
        report::money_left(&mut self.reader().await?, organisation, now).await
    }

    /// Corrections, the earliest first.
    pub async fn corrections(&self, filter: &UsageFilter) -> Result<Vec<Correction>, StoreError> {
        report::corrections(&mut self.reader().await?, filter).await
    }

    /// Those of one leg, in their order.
    pub async fn corrections_of(&self, leg: LegId) -> Result<Vec<Correction>, StoreError> {
        correct::of_leg(&mut self.reader().await?, leg).await
    }

    pub async fn balance(&self, organisation: &OrganisationId) -> Result<Balance, StoreError> {
        report::balance(&mut self.reader().await?, &self.facts(), organisation).await
    }

    /// The account at a moment of the past, or, if nothing more is used, of the future.
    pub async fn as_of(&self, organisation: &OrganisationId, at: Wall, now: Wall) -> Result<AsOf, StoreError> {
        report::as_of(&mut self.desk.reads.snapshot().await?, &self.facts(), organisation, at, now).await
    }

    /// The pool of the month around `at`.
    pub async fn pool(&self, organisation: &OrganisationId, at: Wall) -> Result<PoolState, StoreError> {
        report::pool(&mut self.reader().await?, &self.facts(), organisation, at).await
    }

    /// An organisation's entries in the ledger: at most the latest `limit`, the earliest of them first.
    pub async fn ledger(&self, organisation: &OrganisationId, limit: u32) -> Result<Vec<Entry>, StoreError> {
        report::ledger(&mut self.reader().await?, &self.facts(), organisation, limit).await
    }

    /// Usage records, the earliest first.
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageRecord>, StoreError> {
        report::usage(&mut self.reader().await?, filter).await
    }

    /// Usage records one by one, the earliest first, however many there are (`limit` does not count here). The visitor's
    /// refusal ends the walk, and is given back.
    pub async fn each_record<E>(
        &self,
        filter: &UsageFilter,
        visit: impl FnMut(UsageRecord) -> Result<(), E>,
    ) -> Result<Result<(), E>, StoreError> {
        walk::records(&mut self.reader().await?, filter, visit).await
    }

    /// An organisation's ledger, entry by entry, likewise.
    pub async fn each_entry<E>(
        &self,
        organisation: &OrganisationId,
        visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<Result<(), E>, StoreError> {
        walk::entries(&mut self.reader().await?, organisation, visit).await
    }

    /// A month of an organisation: first its whole ledger, entry by entry, then the records of the legs that ended or were
    /// charged between the two moments. All of it as it is at one moment.
    pub async fn each_of_month<E>(
        &self,
        organisation: &OrganisationId,
        (from, to): (Wall, Wall),
        mut visit: impl FnMut(MonthRow) -> Result<(), E>,
    ) -> Result<Result<(), E>, StoreError> {
        let mut conn = self.desk.reads.snapshot().await?;
        if let Err(refusal) = walk::entries(&mut conn, organisation, |entry| visit(MonthRow::Entry(entry))).await? {
            return Ok(Err(refusal));
        }
        let charged = |record| visit(MonthRow::Record(Box::new(record)));
        if let Err(refusal) = walk::charged(&mut conn, organisation, (from, to), charged).await? {
            return Ok(Err(refusal));
        }
        // Those that cost nothing: the others were told above.
        let filter =
            UsageFilter { organisation: Some(organisation.clone()), from: Some(from), to: Some(to), limit: None };
        let free = |record: UsageRecord| match record.charge {
            Micros::ZERO => visit(MonthRow::Record(Box::new(record))),
            _ => Ok(()),
        };
        walk::records(&mut conn, &filter, free).await
    }

    /// Forgets a person: what told them is gone from the database when this returns, and the books are as they were. In a file
    /// it is overwritten wherever it stood, a step at a time, so that calls go on. (On a server what is emptied is out of the
    /// tables, and the server uses its room again in its own time.)
    pub async fn forget(&self, asked: Forget, now: Wall) -> Result<Forgotten, StoreError> {
        let (of_user, is_dry) = (matches!(asked.whom, Whom::User(_)), asked.dry_run);
        let forgotten = self.desk.ask((asked, now, self.who.clone()), Job::Forget).await?;
        if !is_dry {
            let mut place = Some(scrub::Place::start(of_user));
            while let Some(here) = place {
                place = self.desk.ask(here, Job::Scrub).await?;
            }
            self.desk.tidy_up().await?;
        }
        Ok(forgotten)
    }

    /// Empties what is older than it may be kept: how many records that is (a dry run), or was. A page at a time, so that
    /// calls go on.
    pub async fn keep(&self, asked: Keep, now: Wall) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let some = self.desk.ask((asked, now, self.who.clone()), Job::Keep).await?;
            all += some;
            if some == 0 || asked.dry_run {
                return Ok(all);
            }
        }
    }

    /// Writes into the trail that recordings are deleted: before they are, so that none goes untold.
    pub async fn recordings_deleted(&self, deleted: Deleted, now: Wall) -> Result<(), StoreError> {
        self.desk.ask((deleted, now, self.who.clone()), Job::Deleted).await
    }

    /// Our legs by a carrier that ended between two moments; those that another file than `hash` has charged are marked.
    pub async fn legs_by(
        &self,
        carrier: &CarrierId,
        period: (Wall, Wall),
        hash: &str,
    ) -> Result<Vec<Ours>, StoreError> {
        reconcile::ours(&mut self.reader().await?, carrier, period, hash).await
    }

    /// When a carrier's file was brought in first, if it was.
    pub async fn reconciled_at(&self, hash: &str) -> Result<Option<Wall>, StoreError> {
        reconcile::known(&mut self.reader().await?, hash).await
    }

    /// Remembers a carrier's file and the legs that it charges: whether it was new.
    pub async fn remember(&self, file: Reconciled) -> Result<bool, StoreError> {
        self.desk.ask(file, Job::Remember).await
    }

    /// The record of one settled leg.
    pub async fn record(&self, leg: LegId) -> Result<UsageRecord, StoreError> {
        settle::record(&mut self.reader().await?, leg).await
    }

    /// May it be, who pays, how much: no money moves.
    pub async fn quote(&self, asked: &QuoteRequest) -> Result<Result<Quote, Cause>, StoreError> {
        report::quote(&mut self.reader().await?, &self.facts(), asked).await
    }

    // ---------------------------------------------------------------------------------------------------------- notices

    /// What legs of the last hour did, for a watch for fraud that begins anew; bounded.
    pub async fn recent_sights(&self, now: Wall) -> Result<Vec<(Wall, Sight)>, StoreError> {
        recent::sights(&mut self.reader().await?, &self.facts(), now).await
    }

    /// Keeps wrong tries for the next start, each in the place of what was kept of it. For a day.
    pub async fn keep_tries(&self, kept: Vec<KeptTries>, now: Wall) -> Result<(), StoreError> {
        self.desk.ask((kept, now), Job::KeepTries).await
    }

    /// Wrong tries that were kept, by this node and by others; bounded.
    pub async fn kept_tries(&self, now: Wall) -> Result<Vec<KeptTries>, StoreError> {
        guess::kept(&mut self.reader().await?, &self.node, now).await
    }

    /// Writes something to be told, once a key; whether it is new.
    pub async fn raise(&self, raised: Raise) -> Result<bool, StoreError> {
        self.desk.ask(raised, Job::Raise).await
    }

    /// Gives out letters and payments that are due. Where none is, nothing is written.
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        match outbox::idle(&mut self.reader().await?, claim.now).await? {
            Some(nothing) => Ok(nothing),
            None => self.desk.ask(claim, Job::Claim).await,
        }
    }

    /// What came of one of them. Gives whose account was paid into, where one was.
    pub async fn report(&self, report: Report, now: Wall) -> Result<Option<OrganisationId>, StoreError> {
        self.desk.ask((report, now), Job::Report).await
    }

    /// At a start the house's webhooks are tried again, whatever they did before.
    pub async fn switch_on_house_hooks(&self) -> Result<(), StoreError> {
        self.desk.ask((), Job::HouseHooks).await
    }

    /// The latest alerts and recharges, of one organisation or of all.
    pub async fn alerts(&self, organisation: Option<&OrganisationId>, limit: u32) -> Result<Shown, StoreError> {
        let facts = self.facts();
        if let Some(unknown) = organisation.filter(|id| !facts.organisations.contains_key(*id)) {
            return Err(StoreError::Unknown(format!("organisation {unknown}")));
        }
        outbox::show(&mut self.reader().await?, &facts, organisation, limit).await
    }

    /// Returns when another process has taken this node's name: nothing is written here any more. Seen within a second
    /// or two, also where nobody asks for anything.
    pub async fn taken_over(&self) {
        if self.desk.fenced.clone().wait_for(|fenced| *fenced).await.is_err() {
            // The writer has stopped for another reason, and nobody can take anything from it.
            std::future::pending::<()>().await;
        }
    }

    /// Changes whenever something was written that may be due.
    pub fn outbox(&self) -> watch::Receiver<u64> {
        self.desk.outbox.clone()
    }

    /// Legs that are open in the journal.
    pub async fn live_legs(&self) -> Result<Vec<LiveLeg>, StoreError> {
        report::live(&mut self.reader().await?).await
    }

    /// Every invariant of the books, over the whole store: empty where all is right. Works while the bridge runs.
    pub async fn audit(&self) -> Result<Vec<Difference>, StoreError> {
        audit::audit(&mut self.desk.reads.snapshot().await?).await
    }

    /// Who changed what: the earliest first, of many the latest.
    pub async fn trail(&self, filter: &TrailFilter) -> Result<Vec<TrailRow>, StoreError> {
        trail::list(&mut self.reader().await?, filter).await
    }

    async fn reader(&self) -> Result<Connection, StoreError> {
        Ok(self.desk.reads.acquire().await?)
    }
}
