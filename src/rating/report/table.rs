//! A table that has not been written yet: columns by name, cells by what they are.

use crate::rating::record::csv_line;
use crate::types::Micros;
use serde_json::{Map, Value, json};

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    /// Calls, seconds, minutes.
    Count(u64),
    Money(Micros),
    /// Not known, or not so.
    None,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        let text = text.into();
        if text.is_empty() { Cell::None } else { Cell::Text(text) }
    }

    /// As people read it; empty where there is nothing.
    pub fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Money(amount) => amount.to_text(),
            Cell::None => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Count(count) => json!(count),
            Cell::Money(amount) => json!(amount.to_text()),
            Cell::None => Value::Null,
        }
    }

    /// Text from outside can be a formula; a number that we wrote is none, also below zero.
    const fn is_from_outside(&self) -> bool {
        matches!(self, Cell::Text(_))
    }
}

/// A table: every row has a cell a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
    /// Sums below the rows: one a currency.
    pub totals: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new(), totals: Vec::new() }
    }

    /// RFC 4180: a header, then the rows. No totals: whoever sums a column up would have them twice.
    pub fn to_csv(&self) -> String {
        let header = csv_line(self.columns.iter().map(|name| (*name, true)));
        let rows = self.rows.iter().map(|row| {
            let cells: Vec<(String, bool)> = row.iter().map(|cell| (cell.shown(), cell.is_from_outside())).collect();
            csv_line(cells.iter().map(|(text, outside)| (text.as_str(), *outside)))
        });
        std::iter::once(header).chain(rows).map(|line| line + "\r\n").collect()
    }

    /// Rows and totals as objects, by the names of the columns.
    pub fn to_json(&self) -> Value {
        let all = |rows: &[Vec<Cell>]| -> Value { rows.iter().map(|row| self.object(row)).collect() };
        json!({ "rows": all(&self.rows), "totals": all(&self.totals) })
    }

    fn object(&self, row: &[Cell]) -> Value {
        let fields: Map<String, Value> =
            self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json())).collect();
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_csv_and_as_json() {
        let mut table = Table::new(&["organiser", "legs", "charge"]);
        table.rows.push(vec![Cell::text("=1+1"), Cell::Count(2), Cell::Money(Micros(-5_000_000))]);
        table.rows.push(vec![Cell::text(""), Cell::Count(0), Cell::None]);
        table.totals.push(vec![Cell::None, Cell::Count(2), Cell::Money(Micros(-5_000_000))]);
        assert_eq!(table.to_csv(), "organiser,legs,charge\r\n'=1+1,2,-5.0000\r\n,0,\r\n");
        let json = table.to_json();
        assert_eq!(json["rows"][0], json!({ "organiser": "=1+1", "legs": 2, "charge": "-5.0000" }));
        assert_eq!(json["rows"][1]["organiser"], Value::Null);
        assert_eq!(json["totals"][0]["legs"], 2);
    }
}
