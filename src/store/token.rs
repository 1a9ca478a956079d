//! Who may ask the API: tokens by their names, each in one role, for one organisation or for all. They are among the facts,
//! so that a request is let through or refused without waiting for the database, and one that is revoked is refused at once.

use super::books::{Books, hash_text};
use super::facts::{self, Facts};
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection, Row};
use super::trail::{self, TrailDoor, Who};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::types::{OrganisationId, TokenName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

/// Tokens that are in force at once: each is looked at whenever the facts are read.
pub const MOST_TOKENS: usize = 10_000;

/// Tokens that were revoked and are known by their names when they come again, the latest: whoever comes with an older one
/// is a stranger.
pub const MOST_REVOKED: usize = 1_000;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything, for all.
    Operator,
    /// What an organisation may change of its own.
    Admin,
    /// Its money: read.
    Billing,
    /// All of it: read.
    Reader,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Operator, Role::Admin, Role::Billing, Role::Reader];

    pub const fn slug(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::Billing => "billing",
            Role::Reader => "reader",
        }
    }
}

impl Role {
    /// Whether whoever has it may let others in with `other`: with nothing that they have not themselves. Of an organisation
    /// billing reads, as its admin does; of the house it moves money, which no admin may.
    pub const fn covers(self, other: Role, of_house: bool) -> bool {
        match (self, other) {
            (Role::Operator, _)
            | (Role::Admin, Role::Admin | Role::Reader)
            | (Role::Billing, Role::Billing)
            | (Role::Reader, Role::Reader) => true,
            (Role::Admin | Role::Reader, Role::Billing) => !of_house,
            (Role::Admin, Role::Operator)
            | (Role::Billing, Role::Operator | Role::Admin | Role::Reader)
            | (Role::Reader, Role::Operator | Role::Admin) => false,
        }
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.slug())
    }
}

impl FromStr for Role {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Role, &'static str> {
        let found = Role::ALL.into_iter().find(|role| role.slug() == text);
        found.ok_or("expected operator, admin, billing or reader")
    }
}

/// A token in force; what it is itself nobody knows but its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub name: TokenName,
    pub role: Role,
    /// The only one that it opens; `None`: all, and the house.
    pub organisation: Option<OrganisationId>,
    pub created: Wall,
    /// From here on it opens nothing.
    pub expires: Option<Wall>,
    /// The token that made it, with which it ends; `None`: the house made it by its own hand. Set when it is made.
    pub maker: Option<TokenName>,
}

/// A token that is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    pub token: Token,
    /// What its holder sends: kept as its hash.
    pub secret: String,
}

/// Shows no secret.
impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NewToken").field(&self.token).finish()
    }
}

/// A token to take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub name: TokenName,
    /// One of this organisation's alone.
    pub of: Option<OrganisationId>,
}

fn hash(secret: &str) -> String {
    hash_text(&Sha256::digest(secret).into())
}

impl Facts {
    /// Whose token this is, if it is in force at a moment. By its hash: no comparison tells how much of a guess is right.
    pub fn token(&self, secret: &str, at: Wall) -> Option<&Token> {
        let found = self.known_token(secret)?;
        let in_time = found.expires.is_none_or(|expires| at.micros() < expires.micros());
        let has_place = found.organisation.as_ref().is_none_or(|of| self.open_organisation(of).is_some());
        (in_time && has_place).then_some(found)
    }

    /// The same, whether or not it is in force still; not one that was revoked.
    pub fn known_token(&self, secret: &str) -> Option<&Token> {
        self.tokens.get(&hash(secret))
    }

    /// Whose token this was that was revoked, one of the latest of those: to be told, never to be let in.
    pub fn revoked_token(&self, secret: &str) -> Option<&Token> {
        self.revoked.get(&hash(secret))
    }

    /// Those that were not revoked, of one organisation or all, in the order of their names.
    pub fn tokens(&self, of: Option<&OrganisationId>) -> Vec<&Token> {
        let is_its = |token: &&Token| of.is_none_or(|of| token.organisation.as_ref() == Some(of));
        let mut tokens: Vec<&Token> = self.tokens.values().filter(is_its).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }
}

/// Tokens by their hashes.
pub(super) type ByHash = HashMap<String, Token>;

/// Those in force or expired, and the latest that were revoked.
pub(super) async fn load(conn: &mut Connection) -> Result<(ByHash, ByHash), StoreError> {
    let rows = sql::query("SELECT * FROM token WHERE revoked IS NULL").fetch_all(conn).await?;
    let revoked = sql::query("SELECT * FROM token WHERE revoked IS NOT NULL ORDER BY revoked DESC, name LIMIT $1");
    let revoked = revoked.bind(MOST_REVOKED as i64).fetch_all(conn).await?;
    Ok((read(&rows)?, read(&revoked)?))
}

fn read(rows: &[Row]) -> Result<ByHash, StoreError> {
    let read = |row| {
        let line = Line { row, table: "token" };
        let token = Token {
            name: line.parse("name")?,
            role: line.parse("role")?,
            organisation: line.maybe("organisation")?,
            created: Wall::from_micros(line.number("created")?),
            expires: line.maybe_number("expires")?.map(Wall::from_micros),
            maker: line.maybe("maker")?,
        };
        Ok((line.text("hash")?, token))
    };
    rows.iter().map(read).collect()
}

/// The token by which somebody asks; `None`: they need none.
fn maker<'a>(facts: &'a Facts, who: &Who) -> Result<Option<&'a Token>, StoreError> {
    if who.door != TrailDoor::Api || trail::is_own_name(&who.name) {
        return Ok(None);
    }
    let found = facts.tokens.values().find(|token| token.name.as_str() == who.name);
    found.map(Some).ok_or_else(|| StoreError::Conflict(format!("token {} is revoked", who.name)))
}

/// The token as it may be by who makes it: no stronger, and no longer in force.
fn below(token: &Token, maker: Option<&Token>) -> Result<Token, StoreError> {
    let Some(maker) = maker else { return Ok(Token { maker: None, ..token.clone() }) };
    let refuse = |why: String| Err(StoreError::Conflict(why));
    if maker.organisation.is_some() && maker.organisation != token.organisation {
        return refuse(format!("token {} is of another organisation", maker.name));
    }
    if !maker.role.covers(token.role, token.organisation.is_none()) {
        return refuse(format!("{} lets nobody in as {}: it may not do all of that itself", maker.role, token.role));
    }
    let expires = match (token.expires, maker.expires) {
        (Some(asked), Some(end)) if asked.micros() > end.micros() => {
            return refuse(format!("it would outlive token {}, which makes it and ends at {}", maker.name, utc(end)));
        }
        (asked, end) => asked.or(end),
    };
    Ok(Token { maker: Some(maker.name.clone()), expires, ..token.clone() })
}

/// Makes a token: as it is then. Where no end is asked for it ends with the one that makes it.
pub(super) async fn make(books: &mut Books, (new, who): &(NewToken, Who)) -> Result<Token, StoreError> {
    let token = &new.token;
    let known = sql::query("SELECT name FROM token WHERE name = $1").bind(token.name.as_str());
    if known.fetch_optional(&mut books.conn).await?.is_some() || trail::is_own_name(token.name.as_str()) {
        return Err(StoreError::Conflict(format!("the name of token {} is taken: choose another", token.name)));
    }
    if let Some(of) = token.organisation.as_ref().filter(|of| books.facts.open_organisation(of).is_none()) {
        return Err(StoreError::Unknown(format!("organisation {of}")));
    }
    if token.organisation.is_some() && token.role == Role::Operator {
        return Err(StoreError::Conflict(
            "an operator is the house's: give no organisation, or another role".to_owned(),
        ));
    }
    if token.expires.is_some_and(|expires| expires.micros() <= token.created.micros()) {
        return Err(StoreError::Conflict("its end is past: choose a later one".to_owned()));
    }
    if books.facts.tokens.len() >= MOST_TOKENS {
        return Err(StoreError::Conflict(format!("there are {MOST_TOKENS} tokens: revoke some first")));
    }
    let token = below(token, maker(&books.facts, who)?)?;

    let sql = "INSERT INTO token (name, hash, role, organisation, created, expires, maker) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sql::query(sql)
        .bind(token.name.as_str())
        .bind(hash(&new.secret))
        .bind(token.role.slug())
        .bind(token.organisation.as_ref().map(OrganisationId::as_str))
        .bind(token.created.micros())
        .bind(token.expires.map(Wall::micros))
        .bind(token.maker.as_ref().map(TokenName::as_str))
        .execute(&mut books.conn)
        .await?;
    let detail = json!({ "role": token.role.slug(), "expires": token.expires.map(utc) });
    tell(books, (token.created, who), "token-make", &token, detail).await?;
    reload(books).await?;
    Ok(token)
}

/// Takes a token back, and those that it made, and those that they made: whoever was let in by one who is out is out.
/// Whoever has one of them is refused from now on. Gives their names, the one asked for first.
pub(super) async fn revoke(
    books: &mut Books,
    (revocation, now, who): &(Revocation, Wall, Who),
) -> Result<Vec<TokenName>, StoreError> {
    let Revocation { name, of } = revocation;
    let facts = books.facts.clone();
    let known = facts.tokens(of.as_ref()).into_iter().find(|token| token.name == *name);
    let known = known.ok_or_else(|| StoreError::Unknown(format!("token {name}")))?;

    let mut ended = vec![known];
    let mut next = 0;
    while let Some(maker) = ended.get(next).map(|token| &token.name) {
        let mut made: Vec<&Token> = facts.tokens.values().filter(|token| token.maker.as_ref() == Some(maker)).collect();
        made.sort_by(|a, b| a.name.cmp(&b.name));
        ended.extend(made);
        next += 1;
    }
    for token in &ended {
        let sql = sql::query("UPDATE token SET revoked = $2 WHERE name = $1");
        sql.bind(token.name.as_str()).bind(now.micros()).execute(&mut books.conn).await?;
        let with = (token.name != *name).then_some(name.as_str());
        let detail = json!({ "role": token.role.slug(), "with": with });
        tell(books, (*now, who), "token-revoke", token, detail).await?;
    }
    reload(books).await?;
    Ok(ended.into_iter().map(|token| token.name.clone()).collect())
}

/// The facts are as the rows are.
async fn reload(books: &mut Books) -> Result<(), StoreError> {
    let (tokens, revoked) = load(&mut books.conn).await?;
    books.facts = Arc::new(facts::with_tokens(&books.facts, tokens, revoked));
    Ok(())
}

async fn tell(
    books: &mut Books,
    (at, who): (Wall, &Who),
    verb: &'static str,
    token: &Token,
    detail: Value,
) -> Result<(), StoreError> {
    let (what, organisation) = (format!("token {}", token.name), token.organisation.as_ref());
    trail::write(books, trail::Step { at, who, verb, what, organisation, detail }).await
}
