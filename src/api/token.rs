//! Tokens of the API: made (and shown once), listed, revoked; of the house, or below their organisation.

use super::entry::of_path;
use super::extract::{Json as Said, Known};
use super::io::Moment;
use super::leg::parse;
use super::money::moment;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::store::{NewToken, Revocation, Role, Store, Token, Who};
use crate::types::{OrganisationId, TokenName};
use axum::extract::RawPathParams;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A token that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    /// Whose it is: it stands in the trail.
    pub name: String,
    /// operator, admin, billing or reader.
    pub role: String,
    /// RFC 3339, or a date; for as long as the token by which it is asked for where there is none.
    #[serde(default)]
    pub expires: Option<String>,
}

fn shown(token: &Token) -> Value {
    json!({
        "name": token.name.as_str(), "role": token.role.slug(),
        "organisation": token.organisation.as_ref().map(OrganisationId::as_str), "created": utc(token.created),
        "expires": token.expires.map(utc), "maker": token.maker.as_ref().map(TokenName::as_str),
    })
}

pub fn tokens_of(store: &Store, of: Option<&OrganisationId>) -> Value {
    store.facts().tokens(of).into_iter().map(shown).collect()
}

/// Makes a token: the only answer that has it.
pub async fn make_of(
    store: &Store,
    organisation: Option<OrganisationId>,
    order: &TokenOrder,
    now: Wall,
) -> Result<Value, Problem> {
    let token = Token {
        name: parse("name", &order.name)?,
        role: parse("role", &order.role)?,
        organisation,
        created: now,
        expires: order.expires.as_deref().map(|expires| moment("expires", expires)).transpose()?,
        maker: None,
    };
    let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let made = store.make_token(NewToken { token, secret: secret.clone() }).await?;
    let mut answer = shown(&made);
    answer["token"] = secret.into();
    Ok(answer)
}

/// The names of all that ended with it, itself first.
pub async fn revoke_of(store: &Store, of: Option<OrganisationId>, name: &str, now: Wall) -> Result<Value, Problem> {
    let name = parse("token", name)?;
    let ended = store.revoke_token(Revocation { name, of }, now).await?;
    Ok(json!({ "revoked": ended.iter().map(TokenName::as_str).collect::<Vec<_>>() }))
}

/// Who asks: what their token is called, and what it opens.
pub fn own_of(who: &Who) -> Value {
    json!({
        "name": who.name, "role": who.role.map(Role::slug),
        "organisation": who.organisation.as_ref().map(OrganisationId::as_str),
    })
}

pub async fn own(Extension(who): Extension<Who>) -> Json<Value> {
    Json(own_of(&who))
}

pub async fn list(Known(reception): Known, path: RawPathParams) -> Result<Json<Value>, Problem> {
    Ok(Json(tokens_of(&reception.store, of_path(&path)?.as_ref())))
}

pub async fn make(
    Known(reception): Known,
    Moment(now): Moment,
    path: RawPathParams,
    Said(order): Said<TokenOrder>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let made = make_of(&reception.store, of_path(&path)?, &order, now).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

pub async fn revoke(Known(reception): Known, Moment(now): Moment, path: RawPathParams) -> Result<Json<Value>, Problem> {
    let name = path.iter().find(|(name, _)| *name == "token").map_or("", |(_, value)| value);
    revoke_of(&reception.store, of_path(&path)?, name, now).await.map(Json)
}
