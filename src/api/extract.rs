//! What a request brings, read: the framework's own extractors, whose refusals take the one shape of [`Problem`].

use super::Reception;
use super::auth;
use super::io::in_time;
use super::problem::Problem;
use crate::store::Who;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// The longest reason.
const LONGEST_REASON: usize = 300;

/// Why somebody does what is not done every day: one line, for the trail.
pub fn reason_of(told: &str) -> Result<String, Problem> {
    let reason = told.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON || reason.contains(char::is_control) {
        return Err(Problem::bad(format!("reason: expected 1 to {LONGEST_REASON} characters on one line")));
    }
    Ok(reason.to_owned())
}

/// The reception, with the store in the hands of whoever asks: what they change stands in the trail under their name, and
/// they see as much of numbers as their role does.
#[derive(Clone)]
pub struct Known(pub Reception);

impl FromRequestParts<Reception> for Known {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, reception: &Reception) -> Result<Known, Problem> {
        let nobody = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "a page that wants to know who asks");
        let who = parts.extensions.get::<Who>().cloned().ok_or_else(nobody)?;
        let masking = reception.masking.seen(auth::view(who.role));
        Ok(Known(Reception { store: reception.store.by(who), masking, ..reception.clone() }))
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// The query of the address.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// The one name in the path.
#[derive(Debug)]
pub struct Named(pub String);

/// The two names in the path, in its order.
#[derive(Debug)]
pub struct TwoNames(pub String, pub String);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let read = in_time(axum::Json::<T>::from_request(request, state)).await?;
        read.map(|axum::Json(value)| Json(value))
            .map_err(|refusal: JsonRejection| refused(refusal.status(), refusal.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let read = extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|extract::Query(value)| Query(value))
            .map_err(|refusal: QueryRejection| refused(refusal.status(), refusal.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let read = extract::Path::<String>::from_request_parts(parts, state).await;
        read.map(|extract::Path(name)| Named(name))
            .map_err(|refusal: PathRejection| refused(refusal.status(), refusal.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TwoNames {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TwoNames, Problem> {
        let read = extract::Path::<(String, String)>::from_request_parts(parts, state).await;
        read.map(|extract::Path((first, second))| TwoNames(first, second))
            .map_err(|refusal: PathRejection| refused(refusal.status(), refusal.body_text()))
    }
}

fn refused(status: StatusCode, message: String) -> Problem {
    let error = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "not-json",
        _ => "bad-request",
    };
    Problem::new(status, error, message)
}
