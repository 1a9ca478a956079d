//! Records and entries told as tables: what was used, by what, in which days; what is left; a month in one document.
//! Numbers in, tables out: who reads the records and where the tables go is others' work.

pub mod balance;
pub mod mask;
pub mod page;
pub mod period;
pub mod statement;
pub mod table;
pub mod usage;

pub use mask::{Masking, Rule, View};
pub use period::{BadPeriod, Period};
pub use statement::Statement;
pub use table::{Cell, Table};
pub use usage::{By, Tally};

/// More than an account can hold: the sums of a report are exact or they are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// An amount leaves the range of amounts.
    Amount,
    /// More rows than a report may have.
    Rows,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Excess::Amount => f.write_str("the amounts add up to more than an account can hold"),
            Excess::Rows => write!(
                f,
                "the report has more than {} rows: ask for a shorter time, or by fewer things",
                usage::MOST_ROWS
            ),
        }
    }
}

impl std::error::Error for Excess {}
