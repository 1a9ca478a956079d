//! Who may ask, and what: whoever has the token of the first start asks everything; every other token has a role, and may be
//! one organisation's. What each page needs stands in the table of pages; which roles have that, in the one below.

use super::Reception;
use super::io::{Moment, Peer};
use super::problem::{self, Problem};
use super::refusal::{Holder, Why};
use crate::rating::report::View;
use crate::store::{Facts, OWNER, Role, TrailDoor, Who};
use crate::types::OrganisationId;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a page asks of whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: not even a token.
    Anyone,
    /// A token, whatever its role and whoever's it is.
    Known,
    /// To read of money and of what was used.
    Books,
    /// To read all else.
    Read,
    /// To change what an organisation may change of its own, and what runs.
    Manage,
    /// To move the house's money: whoever pays is not who books it.
    Pay,
    /// To change the terms of customers, numbers, carriers, prices, people's data; to look into costs.
    Operate,
}

impl Need {
    /// Those that a role may have or not.
    pub const ALL: [Need; 5] = [Need::Books, Need::Read, Need::Manage, Need::Pay, Need::Operate];

    pub const fn slug(self) -> &'static str {
        match self {
            Need::Anyone => "nothing",
            Need::Known => "known",
            Need::Books => "books",
            Need::Read => "read",
            Need::Manage => "manage",
            Need::Pay => "pay",
            Need::Operate => "operate",
        }
    }

    /// Who has it.
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Need::Anyone | Need::Known => &Role::ALL,
            Need::Books => &[Role::Operator, Role::Admin, Role::Billing, Role::Reader],
            Need::Read => &[Role::Operator, Role::Admin, Role::Reader],
            Need::Manage => &[Role::Operator, Role::Admin],
            Need::Pay => &[Role::Operator, Role::Billing],
            Need::Operate => &[Role::Operator],
        }
    }

    /// The house's alone: no organisation's token has it, whatever its role.
    pub const fn is_of_house(self) -> bool {
        matches!(self, Need::Pay | Need::Operate)
    }
}

/// What a role sees of outside parties' numbers, of the house as of an organisation: who runs calls has to know whom they are
/// with, who reads books does not. Whoever has no role sees as little.
pub fn view(role: Option<Role>) -> View {
    match role {
        Some(Role::Operator | Role::Admin) => View::Whole,
        Some(Role::Billing | Role::Reader) | None => View::Masked,
    }
}

/// The bearer token of the first start, kept as its hash: two hashes can be compared in any time without telling how much of
/// a guess is right.
#[derive(Clone)]
pub struct Token(Arc<[u8; 32]>);

impl Token {
    pub fn new(text: &str) -> Token {
        Token(Arc::new(Sha256::digest(text.trim()).into()))
    }

    fn fits(&self, text: &str) -> bool {
        let guess: [u8; 32] = Sha256::digest(text).into();
        // Every byte is looked at, whichever of them is the first that differs.
        guess.iter().zip(self.0.iter()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
    }
}

/// Whoever has a token.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller {
    name: String,
    role: Role,
    /// The only one that they see.
    organisation: Option<OrganisationId>,
}

/// Why somebody is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// There is nothing here for them, as far as they are told.
    NoPage,
    Forbidden,
}

impl Caller {
    fn find(owner: &Token, facts: &Facts, secret: &str, Moment(now): Moment) -> Option<Caller> {
        if owner.fits(secret) {
            return Some(Caller { name: OWNER.to_owned(), role: Role::Operator, organisation: None });
        }
        let token = facts.token(secret, now)?;
        let organisation = token.organisation.clone();
        Some(Caller { name: token.name.to_string(), role: token.role, organisation })
    }

    fn holder(&self) -> Holder {
        Holder { name: self.name.clone(), role: self.role, organisation: self.organisation.clone() }
    }

    /// `of`: the organisation that the page's path names.
    fn may(&self, need: Need, of: Option<&str>) -> Result<(), Closed> {
        if need == Need::Known {
            return Ok(());
        }
        if self.organisation.as_ref().is_some_and(|own| of != Some(own.as_str())) {
            return Err(Closed::NoPage);
        }
        let is_barred = self.organisation.is_some() && need.is_of_house();
        if is_barred || !need.roles().contains(&self.role) { Err(Closed::Forbidden) } else { Ok(()) }
    }
}

/// Lets a request through if it carries a token (RFC 6750 section 2.1) that opens the page; who it is goes along.
pub async fn bearer(
    State((reception, need)): State<(Reception, Need)>,
    Moment(now): Moment,
    peer: Peer,
    path: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header.and_then(|value| value.strip_prefix("Bearer "));
    let facts = reception.store.facts();
    let caller = secret.and_then(|secret| Caller::find(&reception.token, &facts, secret, Moment(now)));
    let refused = |why, holder| reception.refusals.note(peer.0, why, holder, now);
    let Some(caller) = caller else {
        let known = secret.and_then(|secret| facts.known_token(secret)).map(|token| (Why::Expired, token));
        let revoked = || secret.and_then(|secret| facts.revoked_token(secret)).map(|token| (Why::Revoked, token));
        match known.or_else(revoked) {
            Some((why, token)) => refused(why, Some(Holder::of(token))),
            None => refused(Why::Unknown, None),
        }
        let expected = "expected the header \"Authorization: Bearer TOKEN\" with a token that is in force";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", expected));
    };
    let path = path.map_err(|refusal| Problem::bad(refusal.body_text()))?;
    let of = path.iter().find(|(name, _)| *name == "organisation").map(|(_, value)| value);
    match caller.may(need, of) {
        Ok(()) => {
            let Caller { name, role, organisation } = caller;
            let who = Who { name, door: TrailDoor::Api, role: Some(role), organisation };
            request.extensions_mut().insert(who);
            Ok(next.run(request).await)
        }
        Err(Closed::NoPage) => {
            refused(Why::Elsewhere, Some(caller.holder()));
            Err(problem::no_such_page().await)
        }
        Err(Closed::Forbidden) => {
            refused(Why::Role, Some(caller.holder()));
            let why = format!("this needs \"{}\", which the role {} does not have here", need.slug(), caller.role);
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_fits() {
        let token = Token::new("secret\n");
        assert!(token.fits("secret"));
        for guess in ["", "secre", "secret ", "Secret"] {
            assert!(!token.fits(guess), "{guess}");
        }
    }

    /// Each role and need, of the house and of an organisation: written out, so that whoever changes the table says so twice.
    #[test]
    fn what_a_role_may_is_this_and_no_more() {
        use Role::{Admin, Billing, Operator, Reader};
        let house: &[(Role, &[Need])] = &[
            (Operator, &Need::ALL),
            (Admin, &[Need::Books, Need::Read, Need::Manage]),
            (Billing, &[Need::Books, Need::Pay]),
            (Reader, &[Need::Books, Need::Read]),
        ];
        let own: &[(Role, &[Need])] = &[
            (Operator, &[Need::Books, Need::Read, Need::Manage]),
            (Admin, &[Need::Books, Need::Read, Need::Manage]),
            (Billing, &[Need::Books]),
            (Reader, &[Need::Books, Need::Read]),
        ];
        for (organisation, table) in [(None, house), (Some("acme".parse().unwrap()), own)] {
            for (role, may) in table {
                let caller = Caller { name: String::new(), role: *role, organisation: organisation.clone() };
                for need in Need::ALL {
                    let due = if may.contains(&need) { Ok(()) } else { Err(Closed::Forbidden) };
                    assert_eq!(caller.may(need, Some("acme")), due, "{role} {need:?}");
                    let elsewhere = if caller.organisation.is_some() { Err(Closed::NoPage) } else { due };
                    assert_eq!(caller.may(need, Some("omega")), elsewhere, "{role} {need:?}");
                    assert_eq!(caller.may(need, None), elsewhere, "{role} {need:?}");
                }
                assert_eq!((caller.may(Need::Known, None), caller.may(Need::Known, Some("omega"))), (Ok(()), Ok(())));
            }
        }
    }

    /// A role lets others in with nothing that it has not itself: the store's table says of roles what this one says of needs.
    #[test]
    fn a_role_covers_what_needs_no_more() {
        for of_house in [true, false] {
            let organisation = (!of_house).then(|| "acme".parse().unwrap());
            let needs = |role| {
                let caller = Caller { name: String::new(), role, organisation: organisation.clone() };
                Need::ALL.map(|need| caller.may(need, Some("acme")).is_ok())
            };
            for (maker, made) in Role::ALL.into_iter().flat_map(|maker| Role::ALL.map(|made| (maker, made))) {
                let has_all = needs(maker).into_iter().zip(needs(made)).all(|(has, wants)| has || !wants);
                // Of an organisation there is no operator, and one that passes for one lets nobody in as such.
                let due = has_all && (of_house || made != Role::Operator || maker == Role::Operator);
                assert_eq!(maker.covers(made, of_house), due, "{maker} {made} {of_house}");
            }
        }
    }
}
