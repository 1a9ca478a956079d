//! What goes into the store and what comes out of it: past facts in, answers out.

use super::facts::AlertSettings;
use crate::clock::Wall;
use crate::notice::{Alert, Errand, Kind, alert};
use crate::rating::grant::{Filter, Grant as Granted, Part, Source, Unit};
use crate::rating::record::{CallerIdentity, EndedBy, Quality, Try};
use crate::rating::{CallType, Funding, Origin};
use crate::types::{CarrierId, Cause, Currency, E164, GrantId, LegId, MeetingId, Micros, OrganisationId};
use std::path::PathBuf;
use std::time::Duration;

/// The patience of whoever names no other.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long refreshes wait for others. They are asked ten seconds before their hold ends; ten thousand legs ask for seven
/// in this time.
const LINGER: Duration = Duration::from_millis(40);

/// More than a slow commit takes (half a second), which loses no call; and a caller who is told so within a second tries
/// elsewhere.
const SILENT_AFTER: Duration = Duration::from_millis(600);

/// A day: whoever looks at the books once a day sees a raise before it holds.
const COOLING_OFF: Duration = Duration::from_secs(86_400);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this node, kept with each leg that it opens.
    pub node: String,
    /// Requests in one transaction at most: they share one sync of the disk and one statement a table. That many are some
    /// tens of milliseconds of work; many more would only make the first of them wait.
    pub batch: usize,
    /// Requests that wait at most; above it they are refused ([`super::StoreError::Full`]). A second's work.
    pub queue: usize,
    /// How long a leg's next slice waits for those of others, unless something else is asked meanwhile, many are there, or
    /// what the leg holds is about to end.
    pub linger: Duration,
    /// A statement without an answer for longer: new holds are refused at once until there is one.
    pub silent_after: Duration,
    /// Connections for reports.
    pub readers: u32,
    /// The node's own files, where the store is not a file itself: the lock, the key of PINs, the proofs of life.
    pub folder: PathBuf,
    /// Where another process holds the node's name: it is taken from it, and what that one still sends is refused.
    pub take_over: bool,
    /// How long whoever wants a connection waits for one, and the database for a lock. A batch of what legs ask may take
    /// twice as long: then it is given up, and its connection with it, since the network may have swallowed what was sent.
    /// Whoever asks again under the same key learns what came of it.
    pub patience: Duration,
    /// How long a limit on spending that was raised waits before it holds; nothing: it does not.
    pub cooling_off: Duration,
}

impl Options {
    pub(super) fn cooling_ms(&self) -> u64 {
        u64::try_from(self.cooling_off.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            node: "bridge".to_owned(),
            batch: 512,
            queue: 8_192,
            linger: LINGER,
            silent_after: SILENT_AFTER,
            readers: 4,
            folder: PathBuf::from("data"),
            take_over: false,
            patience: PATIENCE,
            cooling_off: COOLING_OFF,
        }
    }
}

/// A leg is born: it is journaled, and asks to be let talk. Key: the leg.
#[derive(Clone, Debug)]
pub struct OpenLeg {
    pub leg: LegId,
    pub call_type: CallType,
    /// In: our number that was called. Out: the destination.
    pub number: E164,
    /// In: who called, if told. Out: our number that is shown.
    pub caller: Option<E164>,
    /// In: where the call began, as its signalling says.
    pub origin: Origin,
    pub carrier: Option<CarrierId>,
    /// `None` where only the conference ID will tell who pays.
    pub meeting: Option<MeetingId>,
    pub call_id: String,
    /// What a next life needs to end the call: SIP's own line, opaque here.
    pub journal: String,
    pub invited: Wall,
}

/// The caller named a meeting: now the payer is known. Key: the leg.
#[derive(Clone, Debug)]
pub struct NamePayer {
    pub leg: LegId,
    pub meeting: MeetingId,
    /// Milliseconds since the answer, by the monotonic clock: the first hold covers them too.
    pub elapsed_ms: u64,
    pub now: Wall,
}

/// The leg was answered (200 sent, or received and acknowledged): charged time begins. Key: the leg.
#[derive(Clone, Debug)]
pub struct Answered {
    pub leg: LegId,
    pub at: Wall,
    /// The dialog as it now is, where that changed since the leg was opened.
    pub journal: Option<String>,
}

/// A call out goes by another carrier, since the first did not take it: what a next life must end is another call.
/// Key: the leg.
#[derive(Clone, Debug)]
pub struct Rerouted {
    pub leg: LegId,
    pub carrier: CarrierId,
    pub call_id: String,
    pub journal: String,
}

/// The next slice. Key: the leg and `sequence`, which the asker counts; a new try is a new number.
#[derive(Clone, Debug)]
pub struct Extend {
    pub leg: LegId,
    pub sequence: u32,
    /// Milliseconds since the answer, from which on the slice is held.
    pub elapsed_ms: u64,
    /// A proof of life: those of them that are charged if nothing more is heard of the leg. None before its ACK.
    pub proven_ms: u64,
    pub now: Wall,
}

/// The leg is over: it is charged once, whatever is asked after. Key: the leg.
#[derive(Clone, Debug)]
pub struct Settle {
    pub leg: LegId,
    pub end: End,
}

/// How a leg ended. An answered leg is charged for `elapsed_ms`; one that was never answered, nothing.
#[derive(Clone, Debug)]
pub struct End {
    /// Milliseconds from the answer to the end, by the monotonic clock.
    pub elapsed_ms: u64,
    pub cause: Cause,
    pub by: EndedBy,
    /// The final response or the status of the Reason, and the Q.850 cause, as they went over the wire.
    pub sip: u16,
    pub q850: u8,
    /// The moment of the end, for labels.
    pub at: Wall,
    pub codec: Option<String>,
    pub quality: Quality,
    pub ringing: Option<Wall>,
    pub acknowledged: Option<Wall>,
    pub joined: Option<Wall>,
    /// Carriers that did not take the call.
    pub tries: Vec<Try>,
    /// How far the caller of a call in is known.
    pub identity: Option<CallerIdentity>,
    /// The far side has yet to hear it: what SIP needs for that is kept until it is [buried](super::Store::buried), also by a
    /// next life.
    pub owes_bye: bool,
}

impl End {
    /// An end with the usual codes of its cause, and nothing known of sound.
    pub fn new(cause: Cause, by: EndedBy, elapsed_ms: u64, at: Wall) -> End {
        End {
            elapsed_ms,
            cause,
            by,
            sip: cause.sip(),
            q850: cause.q850(),
            at,
            codec: None,
            quality: Quality::default(),
            ringing: None,
            acknowledged: None,
            joined: None,
            tries: Vec::new(),
            identity: None,
            owes_bye: false,
        }
    }
}

/// May the leg talk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Granted(Grant),
    Refused(Cause),
    /// It is journaled, and may talk to the lobby: who pays is not known yet.
    NoPayerYet,
}

/// How long it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Milliseconds since the answer up to which money or minutes are held.
    pub until_ms: u64,
    /// Less than a slice could be paid: warn, and end there unless a later request gets more.
    pub is_final: bool,
    pub funding: Funding,
    /// How long the money lasts from the moment of the request, for the warnings: rest of the hold, and what is
    /// available over what all legs of the organisation burn. `None` where credits do not pay.
    pub funded_ms: Option<u64>,
}

/// A leg that a life before this one left open, now settled at its last proof of life; or that it closed, and of which the
/// far side may not have heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub leg: LegId,
    pub call_type: CallType,
    /// What SIP needs to end the dialog.
    pub journal: String,
    pub charge: Micros,
    /// It was paid by credits: buried first.
    pub is_paid: bool,
    /// By whom it went, and who may ask us who we are before it is ended.
    pub carrier: Option<CarrierId>,
}

/// Money for an account, or out of it.
#[derive(Clone, Debug)]
pub struct Funds {
    pub organisation: OrganisationId,
    /// Chosen by the asker; a repeat with the same key books nothing.
    pub key: String,
    pub amount: Micros,
    pub kind: FundsKind,
    pub memo: String,
    pub at: Wall,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FundsKind {
    /// Paid in: more than zero, expires after 12 months.
    Funding,
    /// A correction by hand: either sign; never takes what is held.
    Adjustment,
}

/// What came of [`Funds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditsAdded {
    Booked,
    /// The key was booked before, with the same amount.
    Repeated,
    /// A correction of more than is available.
    NotAvailable {
        available: Micros,
    },
}

/// An organisation's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub organisation: OrganisationId,
    pub currency: Currency,
    /// `held + available`.
    pub posted: Micros,
    pub held: Micros,
    pub available: Micros,
    /// What live legs use a minute, in billionths of the currency unit.
    pub burn_nanos: u64,
    /// In the order in which they are used.
    pub fundings: Vec<FundingRow>,
}

/// An account as it stood, or, if nothing more is used, as it will stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf {
    pub organisation: OrganisationId,
    pub currency: Currency,
    pub at: Wall,
    /// What was not used then, holds of running legs included.
    pub posted: Micros,
    /// What of today's will have expired by then.
    pub expiring: Micros,
    /// In the order in which they are used, each with what remains of it then.
    pub fundings: Vec<FundingRow>,
}

/// One dated funding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundingRow {
    pub key: String,
    pub amount: Micros,
    pub remaining: Micros,
    pub at: Wall,
    pub expires: Wall,
}

/// The pool of one month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The month's first moment.
    pub month: Wall,
    pub granted_ms: u64,
    pub used_ms: u64,
    pub held_ms: u64,
    /// Running legs that it pays now.
    pub legs: u64,
}

/// Which usage records.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    pub organisation: Option<OrganisationId>,
    /// Ended at or after.
    pub from: Option<Wall>,
    /// Ended before.
    pub to: Option<Wall>,
    /// At most so many, the latest; all where `None`.
    pub limit: Option<u32>,
}

/// Whom to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A caller, or somebody who was called.
    Number(E164),
    /// A user: their name, PIN and licences too.
    User(crate::types::UserId),
}

/// A person to be forgotten.
#[derive(Clone, Debug)]
pub struct Forget {
    pub whom: Whom,
    /// Count, and forget nothing.
    pub dry_run: bool,
}

/// What there was of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    pub records: u64,
    /// Meetings of a user: they stay, and nobody can be admitted to them.
    pub meetings: u64,
    /// What rows call a user now.
    pub name: Option<String>,
}

/// Until when records still tell who it was. `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Numbers and conference IDs of records that ended before.
    pub records: Option<Wall>,
    /// Call-IDs.
    pub traces: Option<Wall>,
    /// Count, and empty nothing.
    pub dry_run: bool,
}

/// Recordings that are deleted since they are too old: they are beside the books, and told in them.
#[derive(Clone, Copy, Debug)]
pub struct Deleted {
    pub recordings: u64,
    /// All that were written last before.
    pub before: Wall,
}

/// What a month is told from.
#[derive(Clone, Debug)]
pub enum MonthRow {
    Entry(crate::rating::ledger::Entry),
    Record(Box<crate::rating::UsageRecord>),
}

/// A carrier's file that was compared with our legs. Key: its hash.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// Of the carrier and the file, in hexadecimal.
    pub hash: String,
    pub carrier: CarrierId,
    pub file: String,
    pub at: Wall,
    pub theirs: u64,
    pub matched: u64,
    pub differences: u64,
    /// Ours that are in it; a call may have several.
    pub legs: Vec<LegId>,
}

/// A question without consequences.
#[derive(Clone, Debug)]
pub struct QuoteRequest {
    pub organiser: crate::types::UserId,
    pub call_type: CallType,
    pub number: E164,
    pub caller: Option<E164>,
    pub minutes: u32,
    pub now: Wall,
}

/// Its answer; no money has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub funding: Funding,
    pub currency: Currency,
    /// What `minutes` would cost, as far as credit or pool lasts.
    pub charge: Micros,
    pub connect_fee: Micros,
    /// How long it could last, up to `minutes`.
    pub until_ms: u64,
    pub pool_used_ms: u64,
    pub lines: Vec<String>,
}

/// Something in the books that should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which invariant, by its number in research/reliability-security.md, M0.
    pub invariant: u8,
    /// Account, leg or entry.
    pub place: String,
    pub text: String,
}

/// A live leg in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLeg {
    pub leg: LegId,
    pub call_type: CallType,
    pub organisation: Option<OrganisationId>,
    pub meeting: Option<MeetingId>,
    pub held_until_ms: u64,
    pub credit_held: Micros,
}

/// Something to be told. Key: `key`; a repeat is not told.
#[derive(Clone, Debug)]
pub struct Raise {
    pub key: String,
    pub kind: Kind,
    /// Whose money; `None` where it is about the bridge itself.
    pub organisation: Option<OrganisationId>,
    pub at: Wall,
    pub facts: alert::Facts,
}

/// Letters and payments to carry, so many at most. Whoever takes some and does not report them within two minutes is
/// taken for dead.
#[derive(Clone, Debug)]
pub struct Claim {
    pub now: Wall,
    pub letters: u32,
    pub payments: u32,
    /// Whom the house wants told.
    pub house: AlertSettings,
}

/// What is due, and when the next of the rest becomes so.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub errands: Vec<Errand>,
    pub next: Option<Wall>,
}

/// The outbox as people see it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The newest first.
    pub alerts: Vec<AlertView>,
    pub switched_off: Vec<SwitchedOff>,
    /// The newest first.
    pub recharges: Vec<RechargeView>,
}

/// An alert and its letters.
#[derive(Clone, Debug)]
pub struct AlertView {
    pub alert: Alert,
    /// Whether its letters are written.
    pub posted: bool,
    pub letters: Vec<LetterView>,
}

/// One alert to one target.
#[derive(Clone, Debug)]
pub struct LetterView {
    /// An organisation, or '' for the house.
    pub owner: String,
    /// `mail` or `webhook`.
    pub way: String,
    pub address: String,
    /// `wanted`, `going`, `sent`, `failed` or `dropped`.
    pub state: String,
    pub tries: i64,
    /// Of one that is wanted: tried not before.
    pub next: Wall,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// A webhook that is sent nothing, since it failed too often in a row.
#[derive(Clone, Debug)]
pub struct SwitchedOff {
    /// An organisation, or '' for the house.
    pub owner: String,
    pub webhook: String,
    pub failures: i64,
}

/// An attempt to fetch money.
#[derive(Clone, Debug)]
pub struct RechargeView {
    pub key: String,
    pub organisation: String,
    pub amount: Micros,
    pub currency: String,
    /// `wanted`, `asked`, `paid` or `declined`.
    pub state: String,
    pub at: Wall,
    pub tries: i64,
    pub error: Option<String>,
}

/// Give seconds or money beside the pool. Key: `id`, chosen by the asker.
#[derive(Clone, Debug)]
pub struct NewGrant {
    pub id: GrantId,
    pub organisation: OrganisationId,
    pub unit: Unit,
    pub source: Source,
    /// Milliseconds or micros.
    pub amount: u64,
    pub priority: u16,
    /// Good from then on; from `at` where it is not said.
    pub from: Option<Wall>,
    pub until: Option<Wall>,
    pub filter: Filter,
    pub memo: String,
    pub at: Wall,
}

impl NewGrant {
    /// Whether a grant is the one that is asked for: its end may have come since, and its beginning have been left open.
    pub(super) fn is(&self, row: &GrantRow) -> bool {
        let given = (&row.organisation, row.grant.unit, row.grant.source, row.grant.amount, row.grant.priority);
        given == (&self.organisation, self.unit, self.source, self.amount, self.priority)
            && self.from.is_none_or(|from| from == row.grant.from)
            && self.filter == row.grant.filter
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantAdded {
    Booked(GrantRow),
    /// The id was used before, for the same.
    Repeated(GrantRow),
    /// The organisation has `most` already that are not used up.
    TooMany {
        most: usize,
    },
}

/// End a grant now.
#[derive(Clone, Debug)]
pub struct EndGrant {
    pub id: GrantId,
    pub organisation: OrganisationId,
    pub at: Wall,
}

/// A grant with its counters, in milliseconds or micros: what is not used, held or lapsed is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub organisation: OrganisationId,
    pub used: u64,
    pub held: u64,
    pub lapsed: u64,
    pub memo: String,
    pub grant: Granted,
}

impl GrantRow {
    /// `coming`, `good`, `used` or `over`.
    pub fn state(&self, now: Wall) -> &'static str {
        match &self.grant {
            grant if grant.until.is_some_and(|until| until <= now) => "over",
            _ if self.used + self.lapsed >= self.grant.amount => "used",
            grant if grant.from > now => "coming",
            _ => "good",
        }
    }
}

/// Give a leg's charge back. Key: `key`, chosen by the asker.
#[derive(Clone, Debug)]
pub struct Refund {
    pub leg: LegId,
    /// So much of its money, credits and money of grants, what was used last first; `None`: all that is left of it, with
    /// its time of pool and grants, and minutes of the month.
    pub amount: Option<Micros>,
    pub key: String,
    pub reason: String,
    pub at: Wall,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corrected {
    Booked(Correction),
    /// The key was used before, for the same.
    Repeated(Correction),
    /// More than the leg has cost, all told.
    TooMuch {
        left: Micros,
    },
}

/// Price settled legs again, by the prices in use now. Key: `key` and the leg.
#[derive(Clone, Debug)]
pub struct Reprice {
    pub legs: Vec<LegId>,
    pub key: String,
    pub reason: String,
    pub at: Wall,
}

/// One leg priced again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repriced {
    pub leg: LegId,
    /// Its price before, refunds not counted.
    pub before: Micros,
    pub price: Micros,
    /// The difference as it is booked: what was refunded is not given back twice.
    pub amount: Micros,
    /// Why it has the price that it had.
    pub why_not: Option<String>,
}

/// Which legs are priced again.
#[derive(Clone, Debug)]
pub enum Which {
    Leg(LegId),
    /// Those of an organisation that ended in a period.
    Period {
        organisation: OrganisationId,
        from: Wall,
        to: Wall,
    },
}

/// Legs priced again, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rerating {
    pub legs: u64,
    /// Of them with another price.
    pub changed: u64,
    /// Of them such as could not be priced, or paid.
    pub failed: u64,
    /// The sum of all differences.
    pub amount: Micros,
    /// Those that changed or failed, the first thousand.
    pub list: Vec<Repriced>,
}

impl Rerating {
    /// Changes and failures that are told one by one.
    const MOST_TOLD: usize = 1_000;

    pub(super) fn count(&mut self, repriced: Repriced) {
        self.legs += 1;
        self.changed += u64::from(repriced.price != repriced.before);
        self.failed += u64::from(repriced.why_not.is_some());
        self.amount.0 += repriced.amount.0;
        let is_news = repriced.price != repriced.before || repriced.why_not.is_some();
        if is_news && self.list.len() < Rerating::MOST_TOLD {
            self.list.push(repriced);
        }
    }
}

/// What a correction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrectionKind {
    Refund,
    Rerate,
}

crate::rating::words!(CorrectionKind: "expected refund or re-rate" { Refund "refund", Rerate "re-rate" });

/// A further entry to a usage record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    pub key: String,
    pub leg: LegId,
    /// The leg's first, second, …
    pub number: u32,
    pub organisation: OrganisationId,
    pub kind: CorrectionKind,
    /// Over what the leg had cost before; below zero, given back.
    pub amount: Micros,
    /// Pool time likewise, in milliseconds.
    pub pool_ms: i64,
    /// Minutes of the month likewise.
    pub month_ms: i64,
    /// What grants had back.
    pub grants: Vec<Part>,
    pub at: Wall,
    pub reason: String,
    /// The price that a re-rating gave it.
    pub price: Option<Micros>,
    pub(super) terms: Option<String>,
    /// A stated amount went back along the path of the money, grants among it; before, it was of the credits alone.
    pub(super) by_path: bool,
}
