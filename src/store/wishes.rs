//! Whom an organisation wants told and how its money is fetched: as a file says it, and as the rows have it.

use super::facts::{AlertSettings, LowBalance, Organisation, RechargeSettings};
use super::fault::StoreError;
use super::outbox;
use super::rows::{Line, list_text};
use super::sql::{self, Connection};
use crate::form::Form;
use crate::notice::{HookUrl, Mailbox, SecretRef};
use crate::types::{Micros, OrganisationId};
use std::collections::BTreeMap;

/// Addresses for mail of one organisation.
const MOST_MAILS: usize = 20;
/// Where a file does not say.
const USUAL_LOW: LowBalance = LowBalance::Share(20);
const USUAL_TIMES: u32 = 3;

/// `[organisation.alerts]`.
pub(super) fn alerts(form: &Form<'_>) -> Option<AlertSettings> {
    let found = AlertSettings {
        mails: mails(form, "emails"),
        hook: hook(form, "webhook", "webhook_secret"),
        low_balance: Some(form.text("low_balance").unwrap_or(USUAL_LOW)),
        low_days: form.number("low_days", 1..=365).map(|days| days as u32),
        unusual_spend: Some(form.number("unusual_spend", 2..=1_000).map_or(USUAL_TIMES, |times| times as u32)),
    };
    if found.mails.is_empty() && found.hook.is_none() {
        form.mistake("emails", "expected emails, a webhook, or both: else nobody is told");
    }
    form.finish();
    Some(found)
}

/// A list of addresses for mail.
pub fn mails(form: &Form<'_>, key: &str) -> Vec<Mailbox> {
    let mut mails: Vec<Mailbox> = form.texts(key).unwrap_or_default();
    if mails.len() > MOST_MAILS {
        form.mistake(key, format_args!("expected at most {MOST_MAILS} addresses"));
    }
    mails.sort();
    mails.dedup();
    mails
}

/// The address of a hook, and where the secret is that it is signed with: neither without the other.
pub(super) fn hook(form: &Form<'_>, url: &str, secret: &str) -> Option<(HookUrl, SecretRef)> {
    for (one, other) in [(url, secret), (secret, url)] {
        if form.has(one) && !form.has(other) {
            form.mistake(other, "missing: what is posted is signed");
        }
    }
    let named = self::secret(form, secret);
    form.text(url).zip(named)
}

/// Where a secret is kept. One that was written here instead is not repeated: mistakes are logged and shown.
pub fn secret(form: &Form<'_>, key: &str) -> Option<SecretRef> {
    form.text::<String>(key).and_then(|text| text.parse().map_err(|why| form.mistake(key, why)).ok())
}

/// `[organisation.recharge]`.
pub(super) fn recharge(form: &Form<'_>) -> Option<RechargeSettings> {
    let amount = |key: &str| {
        if !form.has(key) {
            form.mistake(key, "missing");
        }
        let amount = form.decimal(key)?;
        let amount = Micros::from_decimal(amount).map_err(|why| form.mistake(key, why)).ok()?;
        if amount <= Micros::ZERO {
            form.mistake(key, "expected more than zero");
        }
        Some(amount)
    };
    let (trigger, most) = (amount("trigger"), amount("max_per_day"));
    let fetched = amount("amount");
    if fetched.zip(most).is_some_and(|(fetched, most)| fetched > most) {
        form.mistake("max_per_day", "expected at least the amount: else no recharge is ever made");
    }
    if !form.has("hook") {
        form.mistake("hook", "missing");
    }
    let hook = hook(form, "hook", "hook_secret");
    form.finish();
    let (hook, secret) = hook?;
    Some(RechargeSettings { trigger: trigger?, amount: fetched?, max_per_day: most?, hook, secret })
}

/// Reads what all organisations want.
pub(super) async fn load(
    conn: &mut Connection,
    organisations: &mut BTreeMap<OrganisationId, Organisation>,
) -> Result<(), StoreError> {
    let rows = sql::query("SELECT * FROM alert_setting").fetch_all(conn).await?;
    for row in &rows {
        let line = Line { row, table: "alert_setting" };
        let settings = AlertSettings {
            mails: line.list("mails")?,
            hook: line.maybe("webhook")?.zip(line.maybe("webhook_secret")?),
            low_balance: line.maybe("low_balance")?,
            low_days: line.maybe_limit("low_days")?,
            unusual_spend: line.maybe_limit("unusual_spend")?,
        };
        if let Some(organisation) = organisations.get_mut(&line.parse("organisation")?) {
            organisation.alerts = Some(settings);
        }
    }
    let rows = sql::query("SELECT * FROM recharge_setting").fetch_all(conn).await?;
    for row in &rows {
        let line = Line { row, table: "recharge_setting" };
        let settings = RechargeSettings {
            trigger: Micros(line.number("trigger_below")?),
            amount: Micros(line.number("amount")?),
            max_per_day: Micros(line.number("max_per_day")?),
            hook: line.parse("hook")?,
            secret: line.parse("hook_secret")?,
        };
        if let Some(organisation) = organisations.get_mut(&line.parse("organisation")?) {
            organisation.recharge = Some(settings);
        }
    }
    Ok(())
}

/// Writes them as a file has them: what it does not say is not wanted. Webhooks that were off are tried again.
pub(super) async fn write(conn: &mut Connection, organisation: &Organisation) -> Result<(), StoreError> {
    let id = organisation.id.as_str();
    outbox::switch_on(conn, id).await?;
    sql::query("DELETE FROM alert_setting WHERE organisation = $1").bind(id).execute(conn).await?;
    sql::query("DELETE FROM recharge_setting WHERE organisation = $1").bind(id).execute(conn).await?;
    if let Some(alerts) = &organisation.alerts {
        sql::query(
            "INSERT INTO alert_setting \
             (organisation, mails, webhook, webhook_secret, low_balance, low_days, unusual_spend) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(list_text(&alerts.mails))
        .bind(alerts.hook.as_ref().map(|(url, _)| url.to_string()))
        .bind(alerts.hook.as_ref().map(|(_, secret)| secret.to_string()))
        .bind(alerts.low_balance.map(|low| low.to_string()))
        .bind(alerts.low_days)
        .bind(alerts.unusual_spend)
        .execute(conn)
        .await?;
    }
    if let Some(recharge) = &organisation.recharge {
        sql::query(
            "INSERT INTO recharge_setting (organisation, trigger_below, amount, max_per_day, hook, hook_secret) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(recharge.trigger.0)
        .bind(recharge.amount.0)
        .bind(recharge.max_per_day.0)
        .bind(recharge.hook.to_string())
        .bind(recharge.secret.to_string())
        .execute(conn)
        .await?;
    }
    Ok(())
}
