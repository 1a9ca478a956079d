//! Forms that people fill in: TOML read value by value, so that **all** mistakes are told at once, each with its line
//! and what was expected there. Settings and `apply` files are both read through it.

use rust_decimal::Decimal;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub file: String,
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Everything that is wrong with a file of rows, as far as it is told one by one: whoever has ten thousand mistakes has one,
/// made ten thousand times.
#[derive(Debug)]
pub struct Slate<'a> {
    file: &'a str,
    most: usize,
    mistakes: Vec<Mistake>,
    more: usize,
}

impl<'a> Slate<'a> {
    /// `most` mistakes are told; of those beyond only how many they are.
    pub const fn new(file: &'a str, most: usize) -> Slate<'a> {
        Slate { file, most, mistakes: Vec::new(), more: 0 }
    }

    pub fn tell(&mut self, line: usize, text: impl Into<String>) {
        if self.mistakes.len() < self.most {
            self.mistakes.push(Mistake { file: self.file.to_owned(), line, text: text.into() });
        } else {
            self.more += 1;
        }
    }

    /// What was read, if there was no mistake.
    pub fn clean<T>(mut self, read: T) -> Result<T, Vec<Mistake>> {
        if self.more > 0 {
            let line = self.mistakes.last().map_or(0, |last| last.line);
            let text = format!("and {} more mistakes below the first {}", self.more, self.most);
            self.mistakes.push(Mistake { file: self.file.to_owned(), line, text });
        }
        if self.mistakes.is_empty() { Ok(read) } else { Err(self.mistakes) }
    }
}

#[derive(Debug)]
struct Page {
    file: String,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
}

impl Page {
    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }
}

/// A table of the form. Whoever reads it names every key it knows; [`Form::finish`] then tells of keys nobody knows.
#[derive(Clone, Debug)]
pub struct Form<'a> {
    page: Rc<Page>,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    path: String,
    known: Known,
    /// Tables in it that were read, and the keys that they know.
    inner: Rc<RefCell<Vec<(String, Known)>>>,
}

/// Keys that whoever reads a table knows.
type Known = Rc<RefCell<HashSet<String>>>;

/// The text of a form, parsed once; [`Form`]s borrow from it.
pub struct Document<'a> {
    root: Option<Spanned<DeTable<'a>>>,
    page: Rc<Page>,
}

impl<'a> Document<'a> {
    /// Parses `text`. A syntax error is a mistake like the others and leaves an empty form.
    pub fn parse(file: &str, text: &'a str) -> Document<'a> {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let page = Rc::new(Page { file: file.to_owned(), lines, mistakes: RefCell::default() });
        let root = DeTable::parse(text)
            .map_err(|error| {
                let offset = error.span().map_or(0, |span| span.start);
                let text = format!("not TOML: {}", error.message());
                let line = page.line(offset);
                page.mistakes.borrow_mut().push(Mistake { file: page.file.clone(), line, text });
            })
            .ok();
        Document { root, page }
    }

    pub fn form(&'a self) -> Form<'a> {
        Form {
            page: self.page.clone(),
            table: self.root.as_ref().map(Spanned::get_ref),
            span: 0..0,
            path: String::new(),
            known: Rc::default(),
            inner: Rc::default(),
        }
    }

    /// All mistakes found so far, in the order of their lines.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = self.page.mistakes.borrow().clone();
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }
}

impl<'a> Form<'a> {
    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().insert(key.to_owned());
        self.table?.get(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Line of this table's header.
    pub fn line(&self) -> usize {
        self.page.line(self.span.start)
    }

    /// Line of `key`, or of the table where the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        let span = self.table.and_then(|t| t.get(key)).map_or(self.span.clone(), Spanned::span);
        self.page.line(span.start)
    }

    /// Notes a mistake at `key` (or at the table, where the key is absent).
    pub fn mistake(&self, key: &str, text: impl fmt::Display) {
        let text = format!("{}: {text}", self.name(key));
        self.note(self.line_of(key), text);
    }

    fn note(&self, line: usize, text: String) {
        self.page.mistakes.borrow_mut().push(Mistake { file: self.page.file.clone(), line, text });
    }

    fn mistake_at(&self, span: &Range<usize>, text: String) {
        self.note(self.page.line(span.start), text);
    }

    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A value that has a text form (`"…"`), parsed by its own type; `None` where it is absent or wrong.
    pub fn text<T: FromStr>(&self, key: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let value = self.find(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.mistake(key, format_args!("expected a text in quotes, found {}", kind(value.get_ref())));
            return None;
        };
        self.parse(key, text)
    }

    fn parse<T: FromStr>(&self, key: &str, text: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        text.parse().map_err(|error| self.mistake(key, format_args!("{error}, found \"{text}\""))).ok()
    }

    /// As [`Form::text`], and its absence is a mistake.
    pub fn required<T: FromStr>(&self, key: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        if !self.has(key) {
            self.mistake(key, "missing");
        }
        self.text(key)
    }

    /// One of the words of a table, by its text.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text: String = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.mistake(key, format_args!("expected one of {}, found \"{text}\"", list.join(", ")));
        }
        found
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.find(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.mistake(key, format_args!("expected true or false, found {}", kind(value.get_ref())));
        }
        flag
    }

    /// A whole number within `range`.
    pub fn number(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.find(key)?;
        let number = value.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
        let found = number.filter(|n| range.contains(n));
        if found.is_none() {
            self.mistake(key, format_args!("expected a whole number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// An amount or rate: a decimal **in quotes**, since a bare TOML number is a binary float.
    pub fn decimal(&self, key: &str) -> Option<Decimal> {
        let value = self.find(key)?;
        match value.get_ref().as_str() {
            Some(text) => Decimal::from_str_exact(text)
                .map_err(|_| self.mistake(key, format_args!("expected a decimal like \"25.00\", found \"{text}\"")))
                .ok(),
            None => {
                self.mistake(key, "expected a decimal in quotes, like \"25.00\"");
                None
            }
        }
    }

    /// A list of texts, each parsed; a wrong one is told with its own line.
    pub fn texts<T: FromStr>(&self, key: &str) -> Option<Vec<T>>
    where
        T::Err: fmt::Display,
    {
        let value = self.find(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.mistake(key, "expected a list of texts, like [\"a\", \"b\"]");
            return None;
        };
        let parsed = items.iter().filter_map(|item| {
            let parsed = item.get_ref().as_str().map(|text| (text, text.parse()));
            match parsed {
                Some((_, Ok(value))) => Some(value),
                Some((text, Err(error))) => {
                    self.mistake_at(&item.span(), format!("{}: {error}, found \"{text}\"", self.name(key)));
                    None
                }
                None => {
                    self.mistake_at(&item.span(), format!("{}: expected texts in quotes", self.name(key)));
                    None
                }
            }
        });
        Some(parsed.collect())
    }

    /// The same, and one of them may stand there by itself.
    pub fn text_or_texts<T: FromStr>(&self, key: &str) -> Option<Vec<T>>
    where
        T::Err: fmt::Display,
    {
        match self.find(key)?.get_ref().as_str() {
            Some(_) => self.text(key).map(|one| vec![one]),
            None => self.texts(key),
        }
    }

    /// The table under `key`: empty (but usable) where it is absent.
    pub fn table(&self, key: &str) -> Form<'a> {
        let value = self.find(key);
        let table = value.and_then(|v| v.get_ref().as_table());
        if value.is_some() && table.is_none() {
            self.mistake(key, "expected a table");
        }
        let span = value.map_or(self.span.clone(), Spanned::span);
        let known = Known::default();
        self.inner.borrow_mut().push((key.to_owned(), known.clone()));
        Form { page: self.page.clone(), table, span, path: self.name(key), known, inner: Rc::default() }
    }

    /// The tables of `[[key]]`.
    pub fn tables(&self, key: &str) -> Vec<Form<'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.mistake(key, format_args!("expected tables, [[{}]]", self.name(key)));
            return Vec::new();
        };
        let form = |item: &'a Spanned<DeValue<'a>>| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.mistake_at(&item.span(), format!("{}: expected a table", self.name(key)));
            }
            table.map(|table| Form {
                page: self.page.clone(),
                table: Some(table),
                span: item.span(),
                path: self.name(key),
                known: Rc::default(),
                inner: Rc::default(),
            })
        };
        items.iter().filter_map(form).collect()
    }

    /// All keys with a text value: for tables whose keys are data (a failure map).
    pub fn entries(&self) -> Vec<(String, String)> {
        let Some(table) = self.table else { return Vec::new() };
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let key = key.get_ref().to_string();
            self.known.borrow_mut().insert(key.clone());
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().to_owned(),
                other => {
                    self.mistake(&key, format_args!("expected a text, found {}", kind(other)));
                    return None;
                }
            };
            Some((key, text))
        };
        table.iter().filter_map(entry).collect()
    }

    /// A key that a table in this one knows, by its whole name.
    fn at_home(&self, name: &str) -> Option<String> {
        let inner = self.inner.borrow();
        let home = inner.iter().find(|(_, known)| known.borrow().contains(name));
        home.map(|(table, _)| format!("{table}.{name}"))
    }

    /// Tells of every key that nobody asked for: a misspelt setting must not be ignored in silence.
    pub fn finish(&self) {
        let Some(table) = self.table else { return };
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if !self.known.borrow().contains(name) {
                let near = self.at_home(name).or_else(|| nearest(name, &self.known.borrow()));
                let hint = near.map(|n| format!(" (did you mean \"{n}\"?)")).unwrap_or_default();
                let start = key.span().start.min(value.span().start);
                self.mistake_at(&(start..start), format!("{}: unknown key{hint}", self.name(name)));
            }
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known key within two edits of `name`.
fn nearest(name: &str, known: &HashSet<String>) -> Option<String> {
    known.iter().map(|k| (edits(name, k), k)).filter(|(d, _)| *d <= 2).min().map(|(_, k)| k.clone())
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let text = "name = 3\ncolour = \"red\"\n[[thing]]\nsize = \"12\"\n[[thing]]\nsizes = 1\ncredits = 25.0\n";
        let document = Document::parse("x.toml", text);
        let form = document.form();
        assert_eq!(form.text::<String>("name"), None);
        assert_eq!(form.word("colour", &[("blue", 1)]), None);
        for thing in form.tables("thing") {
            thing.required::<u8>("size");
            thing.decimal("credits");
            thing.finish();
        }
        form.finish();
        let told: Vec<String> = document.mistakes().iter().map(Mistake::to_string).collect();
        assert_eq!(
            told,
            [
                "x.toml:1: name: expected a text in quotes, found a number",
                "x.toml:2: colour: expected one of blue, found \"red\"",
                "x.toml:5: thing.size: missing",
                "x.toml:6: thing.sizes: unknown key (did you mean \"size\"?)",
                "x.toml:7: thing.credits: expected a decimal in quotes, like \"25.00\"",
            ]
        );
    }

    /// Whoever names a key one table too high is told where it belongs.
    #[test]
    fn a_key_of_an_inner_table_is_told_by_its_whole_name() {
        let document = Document::parse(
            "x.toml",
            "[thing]\ncolour = \"blue\"\n[thing.limit]\nmost = 1\nmast = 1\nleast = 2\n[other]\nmost = 1\n",
        );
        let (thing, other) = (document.form().table("thing"), document.form().table("other"));
        let limit = thing.table("limit");
        let (_, _) = (limit.number("most", 0..=9), limit.number("least", 0..=9));
        let _: Option<String> = thing.text("colour");
        let within = other.table("limit");
        let _ = within.number("most", 0..=9);
        [limit, thing, within, other].iter().for_each(Form::finish);
        let told: Vec<String> = document.mistakes().iter().map(Mistake::to_string).collect();
        assert_eq!(
            told,
            [
                "x.toml:5: thing.limit.mast: unknown key (did you mean \"most\"?)",
                "x.toml:8: other.most: unknown key (did you mean \"limit.most\"?)",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        let document = Document::parse("x.toml", "a = 1\nb = = 2\n");
        assert_eq!(document.mistakes()[0].line, 2);
        assert!(!document.form().has("a"));
    }
}
