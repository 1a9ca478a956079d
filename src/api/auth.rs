//! Who may ask: whoever has the token.

use super::Reception;
use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The bearer token, kept as its hash: two hashes can be compared in any time without telling how much of a guess is right.
#[derive(Clone)]
pub struct Token(Arc<[u8; 32]>);

impl Token {
    pub fn new(text: &str) -> Token {
        Token(Arc::new(Sha256::digest(text.trim()).into()))
    }

    fn fits(&self, text: &str) -> bool {
        let guess: [u8; 32] = Sha256::digest(text).into();
        guess == *self.0
    }
}

/// Lets a request through if it carries the token (RFC 6750 section 2.1).
pub async fn bearer(State(reception): State<Reception>, request: Request, next: Next) -> Result<Response, Problem> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    if token.is_some_and(|token| reception.token.fits(token)) {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "expected the header \"Authorization: Bearer TOKEN\""))
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
}
