//! The smaller scenes, beside the main one: no licence, credit that runs out, and minutes from the pool.

use super::caller::{Caller, Person, everybody_talks};
use super::gathering::{TOLL, is_refused, italian};
use super::recognise::Part;
use super::stage::Stage;
use crate::cli::Failure;
use crate::meeting::Prompt;
use crate::switchboard::ask::Told;
use crate::types::{Cause, Language, Micros};
use std::cell::Cell;
use std::time::Duration;

pub(super) const UGO: Person = Person { name: "Ugo", number: "+390611111104", hz: 900 };
pub(super) const CIRO: Person = Person { name: "Ciro", number: "+390611111105", hz: 600 };
pub(super) const BEN: Person = Person { name: "Ben", number: "+12125550123", hz: 500 };
pub(super) const GRACE: Person = Person { name: "Grace", number: "+442079460123", hz: 700 };

/// Straight into a meeting whose organiser has no licence.
const UNLICENSED: &str = "+390612345699";
const UNLICENSED_ID: &str = "3140003";
/// Straight into the meeting of an organisation with fifteen seconds left.
const HOTLINE: &str = "+390687654321";
const POOLED: &str = "bridge-watch";
const POOLED_ID: &str = "3140004";
const TOLL_US: &str = "+12125550100";

/// Nobody reaches the meetings of an organiser without a licence, and whoever tries is told why, for nothing.
pub(super) async fn unlicensed(stage: &Stage) -> Result<(), Failure> {
    is_refused(stage, &UGO, UNLICENSED, Cause::NotLicensed).await;
    let mut ugo = Caller::dials(stage, &UGO, TOLL, "toll, Rome").await?;
    ugo.presses(UNLICENSED_ID, "conference ID of a meeting without a licence").await;
    ugo.hears(Prompt::RefusedLicence, italian()?, Part::Beginning, 5).await?;
    ugo.is_hung_up(Cause::NotLicensed.words()).await;
    Ok(())
}

/// A cent and a half at a tenth of a cent a second: fifteen seconds, a warning, the end, and never below zero.
pub(super) async fn credit_runs_out(stage: &Stage) -> Result<(), Failure> {
    let mut ciro = Caller::dials(stage, &CIRO, HOTLINE, "straight into Comet's hotline, 0.0010 USD a second").await?;
    let lowest = Cell::new(Micros(i64::MAX));
    tokio::select! {
        failure = watch_balance(stage, &lowest) => return Err(failure),
        heard = async {
            let heard = ciro.hears(Prompt::CreditTenSeconds, Language::ENGLISH, Part::End, 14).await;
            ciro.is_hung_up(Cause::CreditGone.words()).await;
            heard
        } => heard?,
    }
    let right = lowest.get() >= Micros::ZERO;
    let lowest = lowest.get();
    stage.story.check("books", format!("Comet's available credit was never less than {lowest} meanwhile"), right);
    is_refused(stage, &CIRO, HOTLINE, Cause::NoCredit).await;
    Ok(())
}

/// Looks at the account again and again; ends only if that fails.
async fn watch_balance(stage: &Stage, lowest: &Cell<Micros>) -> Failure {
    loop {
        match stage.balance("comet").await {
            Ok(balance) => lowest.set(lowest.get().min(balance.available)),
            Err(failure) => return failure,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Licences by the user: a toll call in is included, a call out to Zone A takes minutes from the pool.
pub(super) async fn pool(stage: &Stage) -> Result<(), Failure> {
    let mut ben = Caller::dials(stage, &BEN, TOLL_US, "toll, New York").await?;
    ben.presses(POOLED_ID, "conference ID").await;
    let right = stage.counts(POOLED, 1, 0).await?;
    stage.story.check(BEN.name, "is in Borealis' meeting at once: callers may start it, and it has no lobby", right);
    let told = stage.dial(POOLED, GRACE.number).await?;
    let Told::Dialling(_) = told else { return Err(Failure(format!("Grace cannot be rung: {told:?}"))) };
    let ringing = stage.exchange.incoming(Duration::from_secs(5)).await.ok_or("the call to Grace did not arrive")?;
    let phone = ringing.answer().await.map_err(|ended| Failure(format!("Grace's answer is refused: {ended}")))?;
    let mut grace = Caller::with(stage, &GRACE, phone);
    let right = stage.counts(POOLED, 2, 0).await?;
    stage.story.check(GRACE.name, format!("answers at {}, and is in", GRACE.number), right);
    everybody_talks(stage, &[&ben, &grace], &[]).await;
    for caller in [&mut ben, &mut grace] {
        caller.phone.hang_up();
        let released = caller.phone.released(Duration::from_secs(5)).await;
        stage.story.check(caller.name(), "hangs up", released);
    }
    Ok(())
}
