//! `tollbridge audit`: every invariant of the money, over the whole store.

use super::books::{Books, Working};
use super::table::{Side, Table, count};
use super::{Context, Done, Failure, say, say_json};

pub async fn run(context: &Context) -> Done {
    let audit = {
        let _sign = Working::on("auditing the books");
        Books::find(context).await?.audit().await?
    };
    let differences = audit["differences"].as_array().cloned().unwrap_or_default();
    let found = count(differences.len() as u64, "difference");
    if context.json {
        say_json(&audit)?;
    } else if differences.is_empty() {
        say(&format!("{found}\n"))?;
    } else {
        let mut table = Table::new(&[("INVARIANT", Side::Right), ("PLACE", Side::Left), ("DIFFERENCE", Side::Left)]);
        for row in &differences {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            table.row([row["invariant"].to_string(), text("place"), text("text")]);
        }
        say(&format!("{table}{found}\n"))?;
    }
    if differences.is_empty() { Ok(()) } else { Err(Failure(format!("the books are not right: {found}"))) }
}
