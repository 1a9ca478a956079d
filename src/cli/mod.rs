//! The command line: one file a command. Exit 0: done; 1: refused or failed; 2: misused.

mod admit;
mod alerts;
mod apply;
mod audit;
mod backup;
mod balance;
mod books;
mod bridge;
pub mod call;
mod carriers;
mod check;
mod credits;
mod demo;
mod dial;
mod end;
mod entry;
mod forget;
mod grant;
mod hot;
mod legs;
mod licence;
mod limit;
mod lock;
mod meetings;
mod mute;
mod pcap;
pub mod phone;
mod quote;
mod rates;
mod reconcile;
mod record;
mod refund;
mod remove;
mod report;
mod rerate;
mod retention;
mod revoke;
mod serve;
pub mod sound;
mod statement;
mod table;
mod token;
mod trace;
mod trail;
mod transfer;
mod trial;
mod unlock;
mod usage;

use crate::config::Settings;
use crate::form::Mistake;
use crate::store::EntryKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A SIP/RTP audio-conferencing bridge with metering built in.
#[derive(Parser)]
#[command(name = "tollbridge", version, about, max_term_width = 100)]
struct Arguments {
    /// Settings file; without it the defaults, the environment, and an embedded store with the demo's data
    #[arg(long, global = true, value_name = "FILE", env = "TOLLBRIDGE_CONFIG")]
    config: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bridge (the default)
    Serve(serve::Serve),
    /// Check the settings and tell all mistakes at once
    Check,
    /// Bring organisations, users, meetings, numbers, carriers and rates of a file into the store
    Apply(apply::Apply),
    /// Customers: their terms and limits
    #[command(subcommand)]
    Organisation(entry::OfHouse),
    /// Users of an organisation: licences, policies, PIN
    #[command(subcommand)]
    User(entry::OfOrganisation),
    /// Licences of an organisation: bought, given, taken back
    #[command(subcommand)]
    Licence(licence::Licence),
    /// Meetings of an organisation, running or not
    #[command(subcommand)]
    Meeting(entry::OfOrganisation),
    /// Numbers that the bridge answers
    #[command(subcommand)]
    Number(entry::OfHouse),
    /// Carriers: where their calls come from, where ours go
    #[command(subcommand)]
    Carrier(entry::OfHouse),
    /// May a call be, who pays, how much: line by line, and no money moves
    Quote(quote::Quote),
    /// Usage records, one a leg
    Usage(usage::Usage),
    /// An organisation's account: posted, held, available, fundings
    Balance(balance::Balance),
    /// Pay into an account, or correct it
    #[command(subcommand)]
    Credits(credits::Credits),
    /// Seconds and money beside the pool: give, list, end
    #[command(subcommand)]
    Grant(grant::Grants),
    /// Give a leg's charge back, whole or in part
    Refund(refund::Refund),
    /// Price legs again by the prices in use now, and book the differences
    Rerate(rerate::Rerate),
    /// Price lists: bring in, compare, write out
    #[command(subcommand)]
    Rates(rates::Rates),
    /// Limits that were raised and wait: look, or let them hold at once
    #[command(subcommand)]
    Limits(limit::Limits),
    /// Numbers known from fraud: bring in, look, change; open what a call to one has closed
    #[command(subcommand)]
    HotList(hot::HotLists),
    /// Usage, pools and balances added up: by day, organiser, country, number, capability, carrier
    Report(report::Report),
    /// A month of an organisation as one page to print or keep
    Statement(statement::Statement),
    /// Compare a carrier's call records with ours
    Reconcile(Box<reconcile::Reconcile>),
    /// Empty what is older than it may be kept
    #[command(subcommand)]
    Retention(retention::Retention),
    /// Take a person out of every record; what was paid stays
    ///
    /// What is kept in a file is overwritten where it stood. On PostgreSQL the rows are gone and their place is free for others,
    /// but until the server uses it their bytes stay in the free space of its pages, in its write-ahead log and that log's
    /// archive, and in backups: to have those gone too, run VACUUM FULL on person, leg, hold, organiser, licence, meeting,
    /// spend_of, dialog and guess while no calls run, and let logs and backups of before expire. Copies made by `backup` keep what they
    /// had.
    Forget(forget::Forget),
    /// What was told of the money, to whom, and what became of it; recharges; webhooks that are off
    Alerts(alerts::Alerts),
    /// Who may ask the API: made, listed, revoked
    #[command(subcommand)]
    Token(token::Token),
    /// Check every invariant of the money over the whole store
    Audit,
    /// Copy the books as they are now into one file, while the bridge runs
    Backup(backup::Arguments),
    /// Read a copy into a new, empty store, of either kind
    Restore(backup::Reading),
    /// Who changed what, and when
    Trail(trail::Trail),
    /// Who is in a call now
    Legs(legs::Legs),
    /// What was said of a leg over SIP, as a ladder and, if wanted, a file for sngrep and Wireshark
    Trace(trace::Show),
    /// Which meetings run now
    Meetings(meetings::Meetings),
    /// Which carriers are there, and with which we are registered
    Carriers,
    /// Have a meeting ring a phone
    Dial(dial::Dial),
    /// Mute a leg, or let it be heard again
    Mute(mute::Mute),
    /// End a leg, whether it rings or talks
    Remove(remove::Remove),
    /// Send a leg to another number: its carrier calls that in place of the bridge
    Transfer(transfer::Transfer),
    /// End an organisation's calls at once, and lock it where that is asked
    Revoke(revoke::Revoke),
    /// Lift the lock of an organisation or of a user; what whoever runs the bridge locked they alone open
    Unlock(unlock::Unlock),
    /// End a meeting for all
    End(end::End),
    /// Lock a meeting, or open it again
    Lock(lock::Lock),
    /// Record a meeting: start, pause, resume, stop
    Record(record::Record),
    /// Let all who wait in a meeting's lobby in
    Admit(admit::Admit),
    /// Be a caller: for trying a trunk, and for sizing
    Call(Box<call::Call>),
    /// See the main job done, and checked: calls, sound, prices, books
    Demo(demo::Demo),
    /// Print the completion script of a shell
    Completion { shell: clap_complete::Shell },
}

/// What every command is given.
pub(crate) struct Context {
    pub settings: Settings,
    /// The file that the settings came from.
    pub config: Option<PathBuf>,
    pub json: bool,
}

/// Why a command did not do it, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure(pub String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

pub(crate) type Done = Result<(), Failure>;

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(settings) => settings,
        Err(mistakes) => return tell_mistakes(&mistakes),
    };
    let context = Context { settings, config: arguments.config, json: arguments.json };
    match run(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            tell_failure(&why);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>, context: &Context) -> Done {
    match command {
        None => wait_for(serve::Serve::default().run(context)),
        Some(Command::Serve(serve)) => wait_for(serve.run(context)),
        Some(Command::Check) => check::run(context),
        Some(Command::Apply(apply)) => wait_for(apply.run(context)),
        Some(Command::Organisation(order)) => wait_for(order.run(EntryKind::Organisation, context)),
        Some(Command::User(order)) => wait_for(order.run(EntryKind::User, context)),
        Some(Command::Licence(licence)) => wait_for(licence.run(context)),
        Some(Command::Meeting(order)) => wait_for(order.run(EntryKind::Meeting, context)),
        Some(Command::Number(order)) => wait_for(order.run(EntryKind::Number, context)),
        Some(Command::Carrier(order)) => wait_for(order.run(EntryKind::Carrier, context)),
        Some(Command::Quote(quote)) => wait_for(quote.run(context)),
        Some(Command::Usage(usage)) => wait_for(usage.run(context)),
        Some(Command::Balance(balance)) => wait_for(balance.run(context)),
        Some(Command::Credits(credits)) => wait_for(credits.run(context)),
        Some(Command::Grant(grant)) => wait_for(grant.run(context)),
        Some(Command::Refund(refund)) => wait_for(refund.run(context)),
        Some(Command::Rerate(rerate)) => wait_for(rerate.run(context)),
        Some(Command::Rates(rates)) => wait_for(rates.run(context)),
        Some(Command::Limits(limits)) => wait_for(limits.run(context)),
        Some(Command::HotList(lists)) => wait_for(lists.run(context)),
        Some(Command::Report(report)) => wait_for(report.run(context)),
        Some(Command::Statement(statement)) => wait_for(statement.run(context)),
        Some(Command::Reconcile(reconcile)) => wait_for(reconcile.run(context)),
        Some(Command::Retention(retention)) => wait_for(retention.run(context)),
        Some(Command::Forget(forget)) => wait_for(forget.run(context)),
        Some(Command::Alerts(alerts)) => wait_for(alerts.run(context)),
        Some(Command::Token(token)) => wait_for(token.run(context)),
        Some(Command::Audit) => wait_for(audit::run(context)),
        Some(Command::Backup(arguments)) => wait_for(backup::backup(context, &arguments)),
        Some(Command::Restore(arguments)) => wait_for(backup::restore(context, &arguments)),
        Some(Command::Trail(trail)) => wait_for(trail.run(context)),
        Some(Command::Legs(legs)) => legs.run(context),
        Some(Command::Trace(trace)) => trace.run(context),
        Some(Command::Meetings(meetings)) => meetings.run(context),
        Some(Command::Carriers) => carriers::run(context),
        Some(Command::Dial(dial)) => wait_for(dial.run(context)),
        Some(Command::Mute(mute)) => mute.run(context),
        Some(Command::Remove(remove)) => remove.run(context),
        Some(Command::Transfer(transfer)) => transfer.run(context),
        Some(Command::End(end)) => end.run(context),
        Some(Command::Revoke(revoke)) => revoke.run(context),
        Some(Command::Unlock(unlock)) => wait_for(unlock.run(context)),
        Some(Command::Lock(lock)) => lock.run(context),
        Some(Command::Record(record)) => record.run(context),
        Some(Command::Admit(admit)) => admit.run(context),
        Some(Command::Call(call)) => wait_for(call.run(context)),
        Some(Command::Demo(demo)) => wait_for(demo.run(context)),
        Some(Command::Completion { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tollbridge", &mut script);
            say(&String::from_utf8(script)?)
        }
    }
}

/// When a command is done, work that it left on side threads (a sync of the disk, an audit that nobody waits for) gets
/// so long to end.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Runs a command that talks over a network.
fn wait_for(work: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(AFTERWARDS);
    done
}

/// Mistakes of a file come a line each, as editors like them; what it comes to is the last line.
fn tell_failure(why: &str) {
    let (mistakes, sum) = why.rsplit_once('\n').map_or((None, why), |(mistakes, sum)| (Some(mistakes), sum));
    if let Some(mistakes) = mistakes {
        note(mistakes);
    }
    note(&format!("tollbridge: {sum}"));
}

/// A line to standard error. Where that is closed nobody is left to be told.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints to standard output. Whoever stopped reading (`| head`) has read enough.
pub(crate) fn say(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn say_json(value: &serde_json::Value) -> Done {
    say(&format!("{value:#}\n"))
}

pub(crate) fn tell_mistakes(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        note(&mistake.to_string());
    }
    note(&format!("tollbridge: {}; nothing was done", table::count(mistakes.len() as u64, "mistake")));
    ExitCode::FAILURE
}
