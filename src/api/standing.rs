//! How we stand with carriers: which are there, and with which we are registered.

use super::Reception;
use super::extract::Known;
use super::leg::ask;
use super::problem::Problem;
use crate::switchboard::ask::{Ask, CarrierView, Told};
use axum::Json;

pub async fn list(Known(reception): Known) -> Result<Json<Vec<CarrierView>>, Problem> {
    standings(&reception).await.map(Json)
}

async fn standings(reception: &Reception) -> Result<Vec<CarrierView>, Problem> {
    match ask(reception, Ask::Carriers).await? {
        Told::Carriers(carriers) => Ok(carriers),
        _ => Err(Problem::down("an answer to another question")),
    }
}
