//! Tables for people: columns as wide as what is in them, numbers to the right.

use std::fmt;

/// Between two columns.
const GAP: &str = "  ";

/// On which side a column is even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

pub(super) struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, Side)]) -> Table {
        Table { columns: columns.iter().map(|(name, side)| ((*name).to_owned(), *side)).collect(), rows: Vec::new() }
    }

    /// Other columns, known only when the rows are.
    pub fn title(&mut self, columns: Vec<(String, Side)>) {
        self.columns = columns;
    }

    /// A row, a cell a column. What comes from a network or a file is shown, not carried out: see [`harmless`].
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }

    /// The table, or where it has no row a sentence that says so: a title over nothing tells nobody whether it is right.
    pub fn or(&self, nothing: &str) -> String {
        if self.rows.is_empty() { format!("{nothing}\n") } else { self.to_string() }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |n: usize, title: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(n));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(title.len())
        };
        self.columns.iter().enumerate().map(|(n, (title, _))| width(n, title)).collect()
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let sided = |(n, cell): (usize, &&str)| match (self.columns.get(n), widths.get(n)) {
            (Some((_, Side::Right)), Some(width)) => format!("{cell:>width$}"),
            (_, Some(width)) => format!("{cell:width$}"),
            (_, None) => (*cell).to_owned(),
        };
        let cells: Vec<String> = cells.iter().enumerate().map(sided).collect();
        cells.join(GAP).trim_end().to_owned()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles: Vec<&str> = self.columns.iter().map(|(title, _)| title.as_str()).collect();
        writeln!(f, "{}", self.line(&titles, &widths))?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            writeln!(f, "{}", self.line(&cells, &widths))?;
        }
        Ok(())
    }
}

/// Without control characters: a name from a file or a network may not move somebody's cursor.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Seconds as `3:07` or `1:02:03`.
pub(super) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `1 leg`, `2 legs`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Side::Left), ("AMOUNT", Side::Right), ("MEMO", Side::Left)]);
        table.row(["a".into(), "1.0000".into(), "x".into()]);
        table.row(["größer".into(), "100.0000".into(), String::new()]);
        let shown = "NAME      AMOUNT  MEMO\na         1.0000  x\ngrößer  100.0000\n";
        assert_eq!(table.to_string(), shown);
    }

    #[test]
    fn nothing_is_told_in_a_sentence() {
        let mut table = Table::new(&[("NAME", Side::Left)]);
        assert_eq!(table.or("there is no name"), "there is no name\n");
        table.row(["a".into()]);
        assert_eq!(table.or("there is no name"), "NAME\na\n");
    }

    #[test]
    fn a_cell_moves_no_cursor() {
        let mut table = Table::new(&[("NAME", Side::Left)]);
        table.row(["\x1b[2Ja\nb".into()]);
        assert_eq!(table.to_string(), "NAME\n\u{fffd}[2Ja\u{fffd}b\n");
    }

    #[test]
    fn lengths_read_as_on_a_clock() {
        for (seconds, shown) in [(0, "0:00"), (61, "1:01"), (3_600, "1:00:00"), (86_399, "23:59:59")] {
            assert_eq!(clock(seconds), shown);
        }
        assert_eq!((count(1, "leg"), count(0, "leg")), ("1 leg".into(), "0 legs".into()));
    }
}
