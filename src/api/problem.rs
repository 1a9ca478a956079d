//! What went wrong, as HTTP says it: one shape for all, `{"error": WORD, "message": TEXT}`.

use crate::types::Cause;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// A word for programs.
    pub error: String,
    /// For people.
    pub message: String,
    /// Each mistake of a file, with its line; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<String>,
}

/// As people read it: each mistake on a line of its own, then what it comes to.
impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mistakes.iter().try_for_each(|mistake| writeln!(f, "{mistake}"))?;
        f.write_str(&self.message)
    }
}

/// A status and its body.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    body: Body,
}

impl Problem {
    pub fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Problem {
        Problem { status, body: Body { error: error.into(), message: message.into(), mistakes: Vec::new() } }
    }

    pub fn unknown(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no such {what}"))
    }

    pub fn bad(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// A call or an order that was refused for one of the causes that records know.
    pub fn refused(cause: Cause) -> Problem {
        let status = if cause.is_temporary() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
        Problem::new(status, cause.slug(), cause.words())
    }

    /// Well asked, and not to be done as things are.
    pub fn not_now(why: &str) -> Problem {
        Problem::new(StatusCode::CONFLICT, "not-now", why)
    }

    pub fn mistakes(mistakes: Vec<String>) -> Problem {
        let count = mistakes.len();
        let message = format!("{count} mistake{}; nothing was applied", if count == 1 { "" } else { "s" });
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "mistakes", message);
        problem.body.mistakes = mistakes;
        problem
    }

    pub fn into_body(self) -> Body {
        self.body
    }

    /// The store or the switchboard does not answer.
    pub fn down(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

pub async fn no_such_page() -> Problem {
    Problem::unknown("page")
}

pub async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this page does not take this method")
}
