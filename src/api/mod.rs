//! The reception window: HTTP. One resource a file; each handler translates, asks, and translates back.

pub mod auth;
pub mod extract;
pub mod health;
pub mod io;
pub mod leg;
pub mod meeting;
pub mod money;
pub mod problem;

use crate::store::Store;
use crate::switchboard::io::Handle;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

/// The largest body taken: an `apply` file with a deck of 200,000 rows beside it.
const LARGEST_FILE: usize = 64 << 20;
/// Of any other request: a few names and an amount.
const LARGEST_ORDER: usize = 64 << 10;

/// What every handler may ask.
#[derive(Clone)]
pub struct Reception {
    pub switchboard: Handle,
    pub store: Store,
    pub token: auth::Token,
    /// `None` where nothing collects metrics (several nodes in one test process).
    pub metrics: Option<PrometheusHandle>,
}

/// All routes. Those below `/api/v1` want the bearer token; health does not.
pub fn router(reception: Reception) -> Router {
    let v1 = Router::new()
        .route("/legs", get(leg::list).post(leg::dial))
        .route("/legs/{leg}", get(leg::show).delete(leg::remove))
        .route("/legs/{leg}/mute", post(leg::mute))
        .route("/meetings", get(meeting::list))
        .route("/meetings/{meeting}", axum::routing::delete(meeting::end))
        .route("/meetings/{meeting}/lock", post(meeting::lock))
        .route("/meetings/{meeting}/admit", post(meeting::admit))
        .route("/apply", post(money::apply).layer(DefaultBodyLimit::max(LARGEST_FILE)))
        .route("/usage", get(money::usage))
        .route("/quote", get(money::quote))
        .route("/audit", get(money::audit))
        .route("/organisations/{organisation}/balance", get(money::balance))
        .route("/organisations/{organisation}/credits", post(money::credits))
        .route_layer(middleware::from_fn_with_state(reception.clone(), auth::bearer))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_ORDER));
    Router::new()
        .nest("/api/v1", v1)
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(problem::no_such_method)
        .fallback(problem::no_such_page)
        .with_state(reception)
}
