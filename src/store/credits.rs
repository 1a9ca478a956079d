//! Money into an account, and corrections by hand.

use super::books::Books;
use super::door::{CreditsAdded, Funds, FundsKind};
use super::draw::Draws;
use super::facts::Organisation;
use super::fault::StoreError;
use super::threshold::{self, Seen};
use super::trail::{self, Tried, Who};
use super::{grant, recharge, sql};
use crate::rating::ledger::Kind;
use crate::types::Micros;
use serde_json::json;

/// Keys that begin like this are the store's own: of legs, of expiries, of what was drawn before draws were kept, of grants,
/// of recharges.
const OURS: [&str; 6] = ["leg:", "expire:", "before:", grant::KEY, grant::LAPSE, recharge::KEY];

/// As [`add`], and what was booked, or refused, stands in the trail.
pub(super) async fn add_told(books: &mut Books, (funds, who): &(Funds, Who)) -> Result<CreditsAdded, StoreError> {
    let tried = Tried {
        at: funds.at,
        who,
        verb: match funds.kind {
            FundsKind::Funding => "credits-add",
            FundsKind::Adjustment => "credits-adjust",
        },
        what: format!("organisation {}", funds.organisation),
        organisation: Some(&funds.organisation),
    };
    let added = add(books, funds).await;
    trail::told(books, tried, added, |tried, added| {
        let outcome = match added {
            CreditsAdded::Booked => "booked",
            CreditsAdded::NotAvailable { .. } => "not-available",
            CreditsAdded::Repeated => return Vec::new(),
        };
        let (amount, key, memo) = (funds.amount.to_text(), &funds.key, &funds.memo);
        vec![tried.done(json!({ "amount": amount, "key": key, "memo": memo, "outcome": outcome }))]
    })
    .await
}

/// Books a funding or a correction, once a key.
pub(super) async fn add(books: &mut Books, funds: &Funds) -> Result<CreditsAdded, StoreError> {
    check(funds)?;
    if OURS.iter().any(|own| funds.key.starts_with(own)) {
        return Err(StoreError::Conflict("a key of that form is taken".to_owned()));
    }
    book(books, funds).await
}

/// The same under any key.
pub(super) async fn book(books: &mut Books, funds: &Funds) -> Result<CreditsAdded, StoreError> {
    let organisation = books.organisation(&funds.organisation)?;
    if let Some(first) = booked(books, &funds.key).await? {
        let same = first == (funds.organisation.to_string(), funds.amount.0);
        let conflict = || StoreError::Conflict(format!("\"{}\" was booked before, with another amount", funds.key));
        return if same { Ok(CreditsAdded::Repeated) } else { Err(conflict()) };
    }
    books.expire(&organisation, funds.at).await?;
    let before = books.sums(&organisation.id).await?;
    if before.posted.checked_add(funds.amount).is_none() {
        return Err(StoreError::Conflict("more than an account can hold".to_owned()));
    }
    if !books.shift(&organisation.id, funds.amount).await? {
        return Ok(CreditsAdded::NotAvailable { available: before.available() });
    }
    write(books, &organisation, funds).await?;
    if funds.amount > Micros::ZERO {
        books.date(&organisation.id, &funds.key, funds.amount, before.debt(), funds.at).await?;
        threshold::paid_in(books, &organisation, funds.at).await?;
    } else {
        let draws = Draws::new(&funds.key, None);
        books.use_fundings(&organisation.id, Micros(-funds.amount.0), draws).await?;
        threshold::money(books, &organisation, Seen::default(), funds.at).await?;
    }
    Ok(CreditsAdded::Booked)
}

fn check(funds: &Funds) -> Result<(), StoreError> {
    let refuse = |why: &str| Err(StoreError::Conflict(why.to_owned()));
    match funds.kind {
        _ if funds.key.is_empty() || funds.key.len() > 128 => refuse("a key has 1 to 128 characters"),
        FundsKind::Funding if funds.amount <= Micros::ZERO => refuse("a funding is more than zero"),
        FundsKind::Adjustment if funds.amount == Micros::ZERO => refuse("an adjustment of nothing"),
        FundsKind::Adjustment if funds.amount.0 == i64::MIN => refuse("more than an account can hold"),
        FundsKind::Funding | FundsKind::Adjustment => Ok(()),
    }
}

/// What was booked under `key`: whose, and how much into (or, below zero, out of) what is available.
pub(super) async fn booked(books: &mut Books, key: &str) -> Result<Option<(String, i64)>, StoreError> {
    let row = sql::query("SELECT organisation, credit, amount FROM ledger_entry WHERE key = $1")
        .bind(key)
        .fetch_optional(&mut books.conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let amount: i64 = row.try_get(2)?;
    let is_in = row.try_get::<String, _>(1)? == Kind::Available.slug();
    Ok(Some((row.try_get(0)?, if is_in { amount } else { -amount })))
}

async fn write(books: &mut Books, organisation: &Organisation, funds: &Funds) -> Result<(), StoreError> {
    let amount = Micros(funds.amount.0.abs());
    let from_to = match funds.kind {
        FundsKind::Funding => (Kind::Funding, Kind::Available),
        FundsKind::Adjustment if funds.amount > Micros::ZERO => (Kind::Adjustment, Kind::Available),
        FundsKind::Adjustment => (Kind::Available, Kind::Adjustment),
    };
    books.book(organisation, from_to, amount, funds.key.clone(), &funds.memo, funds.at).await
}
