//! Bytes to lines to pieces: the head of a message cut into header lines, and the small scanner that all headers share.
//!
//! There is one reading of each line, so that no other parser on the way can see another message (header smuggling):
//! lines end in CRLF and nothing else, names are tokens, control bytes stand in quoted pairs alone.

use memchr::{memchr, memchr_iter, memchr2, memmem};
use std::borrow::Cow;

/// Bytes of one message, head and body: what one datagram can carry, and the bound of a stream's buffer.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Header lines of one message. Real ones have 10 to 40; RFC 4475's longest has 44.
pub const HEADERS_MAX: usize = 128;
/// So many that most messages fit in.
const USUAL_LINES: usize = 24;
/// Bytes of one header with its folded lines. The longest of RFC 4475 has 594; digest and Identity headers reach 2 KiB.
pub const HEADER_MAX: usize = 8 * 1024;
/// Parameters of one value or URI: they are compared with each other, which must stay cheap.
pub const PARAMS_MAX: usize = 32;

/// Why a text is not what it should be: a few plain words, told to the peer in the reason phrase.
pub type Why = &'static str;

/// The answer a broken message deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub why: Why,
    /// Nobody can tell where the next message of a stream begins.
    pub unframed: bool,
}

impl From<Why> for Fault {
    fn from(why: Why) -> Fault {
        Fault { status: 400, why, unframed: false }
    }
}

impl Fault {
    pub const fn unframed(status: u16, why: Why) -> Fault {
        Fault { status, why, unframed: true }
    }
}

/// One header, unfolded, blanks at its rim cut off.
#[derive(Debug)]
pub struct Line<'a> {
    pub name: &'a str,
    pub value: Cow<'a, str>,
}

impl Line<'_> {
    /// Whether this is the header of that name, or of that compact name (RFC 3261 section 7.3.3).
    pub fn is(&self, name: &str, compact: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.name.eq_ignore_ascii_case(compact)
    }
}

/// The head of a message in lines. What could be read is here even where `fault` says that not all could: a refusal
/// has to be addressed.
#[derive(Debug)]
pub struct Head<'a> {
    /// All of it.
    pub text: &'a str,
    pub start: &'a str,
    pub lines: Vec<Line<'a>>,
    /// The first thing wrong.
    pub fault: Option<Fault>,
}

/// The first CRLF CRLF at or after `from`.
pub fn find_head_end(bytes: &[u8], from: usize) -> Option<usize> {
    memmem::find(bytes.get(from..)?, b"\r\n\r\n").map(|at| from + at)
}

/// How many bytes of leading line ends to skip (RFC 3261 section 7.5).
pub fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}

impl<'a> Head<'a> {
    /// Cuts `text`, which has no empty line at its end.
    pub fn lex(text: &'a str) -> Head<'a> {
        let (head, line_ends) = Head::cut(text, false);
        // The line ends of nearly all heads are all the control bytes that they have. Only other heads are looked at closely.
        if controls(text) == line_ends * 2 { head } else { Head::cut(text, true).0 }
    }

    /// The head, and how many line ends it has. `wary`: control bytes are looked for.
    fn cut(text: &'a str, wary: bool) -> (Head<'a>, usize) {
        let (start, mut rest) = text.split_once("\r\n").unwrap_or((text, ""));
        let mut head = Head { text, start, lines: Vec::with_capacity(USUAL_LINES), fault: None };
        let mut line_ends = usize::from(start.len() < text.len());
        while !rest.is_empty() {
            let (end, folds) = header_end(rest);
            let (line, next) = rest.split_at(end);
            rest = next.get(2..).unwrap_or_default();
            line_ends += folds + usize::from(!next.is_empty());
            if head.lines.len() == HEADERS_MAX {
                head.note("too many header lines");
                break;
            }
            match lex_line(line, folds > 0, wary) {
                Ok(line) => head.lines.push(line),
                Err(why) => head.note(why),
            }
        }
        (head, line_ends)
    }

    fn note(&mut self, why: Why) {
        self.fault.get_or_insert(why.into());
    }

    /// The values of all lines of that name.
    pub fn values(&self, name: &'a str, compact: &'a str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.is(name, compact)).map(|line| line.value.as_ref())
    }

    /// Content-Length, if there is one: digits alone, and once (RFC 3261 section 20.14).
    pub fn content_length(&self) -> Result<Option<usize>, Fault> {
        let mut found = self.values("Content-Length", "l");
        let Some(value) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(Fault::unframed(400, "Content-Length twice"));
        }
        number(value)
            .and_then(|length| usize::try_from(length).ok())
            .map(Some)
            .ok_or(Fault::unframed(400, "Content-Length is no length"))
    }
}

/// The end of the header that `text` begins with: the first CRLF that no blank follows (RFC 3261 section 7.3.1); and how many
/// CRLF it has before that.
fn header_end(text: &str) -> (usize, usize) {
    let bytes = text.as_bytes();
    let mut folds = 0;
    for at in memchr_iter(b'\r', bytes) {
        match bytes[at + 1..] {
            [b'\n', after, ..] if is_blank(after) => folds += 1,
            [b'\n', ..] => return (at, folds),
            _ => {}
        }
    }
    (text.len(), folds)
}

/// How many control bytes `text` has. In pieces whose count is one byte, so that the compiler counts many at once.
fn controls(text: &str) -> usize {
    let count = |piece: &[u8]| piece.iter().map(|b| u8::from(b.is_ascii_control())).sum::<u8>();
    text.as_bytes().chunks(255).map(|piece| usize::from(count(piece))).sum()
}

fn lex_line(line: &str, is_folded: bool, wary: bool) -> Result<Line<'_>, Why> {
    if line.len() > HEADER_MAX {
        return Err("header line too long");
    }
    let mut scan = Scan::new(line);
    let name = scan.take(|b| TOKEN.has(b));
    // Blanks before the colon are legal (HCOLON) and must not make another header of it: they are no part of the name.
    if name.is_empty() || !scan.blanks().eat(b':') {
        return Err(if line.contains(':') { "header name is not a token" } else { "header line without a colon" });
    }
    let value = if is_folded { Cow::Owned(unfold(scan.rest)) } else { Cow::Borrowed(trim(scan.rest)) };
    if wary {
        check_controls(&value)?;
    }
    Ok(Line { name, value })
}

/// Each line end with its blanks becomes one space.
fn unfold(value: &str) -> String {
    let lines: Vec<&str> = value.split("\r\n").map(trim).collect();
    trim(&lines.join(" ")).to_owned()
}

/// Control bytes are legal as the second half of a quoted pair (RFC 3261 section 25.1), CR and LF never.
fn check_controls(value: &str) -> Result<(), Why> {
    let is_control = |b: u8| b.is_ascii_control() && b != b'\t';
    let mut quoted = false;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                if matches!(bytes.next(), Some(b'\r' | b'\n')) {
                    return Err("line end inside a header");
                }
            }
            byte if is_control(byte) => return Err("control byte in a header"),
            _ => {}
        }
    }
    Ok(())
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Cuts blanks off both ends.
pub fn trim(text: &str) -> &str {
    let start = text.bytes().position(|b| !is_blank(b)).unwrap_or(text.len());
    let end = text.bytes().rposition(|b| !is_blank(b)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The text before the first `mark`, and the text behind it.
pub fn cut(text: &str, mark: u8) -> Option<(&str, &str)> {
    memchr(mark, text.as_bytes()).map(|at| (&text[..at], &text[at + 1..]))
}

/// A set of bytes, asked by one look into a table: what a chain of comparisons costs is felt at each byte of each message.
pub struct ByteSet([bool; 256]);

impl ByteSet {
    /// Letters and digits of ASCII, and these.
    pub const fn alphanumeric_and(marks: &[u8]) -> ByteSet {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < marks.len() {
            set[marks[at] as usize] = true;
            at += 1;
        }
        ByteSet(set)
    }

    pub const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }

    /// Whether all of `text`, perhaps empty, is of it.
    pub fn holds(&self, text: &str) -> bool {
        text.bytes().all(|b| self.has(b))
    }
}

/// RFC 3261 section 25.1, the bytes of `token`.
pub static TOKEN: ByteSet = ByteSet::alphanumeric_and(b"-.!%*_+`'~");

/// RFC 3261 section 25.1, `token`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && TOKEN.holds(text)
}

/// Digits alone, leading zeros allowed, up to 64 bits.
pub fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Cuts a value at the commas that stand outside quotes and `<>`. An unclosed quote takes the rest.
pub fn split_commas(value: &str) -> impl Iterator<Item = &str> {
    split_outside(value, b',').map(trim)
}

/// Cuts at `mark` outside quotes and `<>`.
pub fn split_outside(value: &str, mark: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find_outside(text, mark);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn find_outside(text: &str, mark: u8) -> Option<usize> {
    // Of most values the first look says that there is nothing to cut.
    memchr(mark, text.as_bytes())?;
    let (mut quoted, mut escaped, mut angled) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !angled => quoted = !quoted,
            _ if quoted => {}
            b'<' => angled = true,
            b'>' => angled = false,
            byte if byte == mark && !angled => return Some(at),
            _ => {}
        }
    }
    None
}

/// The text of a quoted string, quotes and escapes taken off.
pub fn unquote(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    Cow::Owned(text)
}

/// A text as a quoted string. Control characters become spaces: none may be smuggled out.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(if c.is_control() { ' ' } else { c });
    }
    quoted.push('"');
    quoted
}

/// A value that may stand on a header line: control characters become spaces, so that no text from anywhere can end
/// the line and begin another.
pub fn one_line(value: &str) -> Cow<'_, str> {
    let value = trim(value);
    if !value.contains(char::is_control) {
        return Cow::Borrowed(value);
    }
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Cow::Owned(trim(&clean).to_owned())
}

/// A place in a header's value.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    pub rest: &'a str,
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str) -> Scan<'a> {
        Scan { rest: text }
    }

    pub fn blanks(&mut self) -> &mut Scan<'a> {
        self.take(is_blank);
        self
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The byte that is next.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Takes `mark` (of ASCII), if it is next.
    #[inline]
    pub fn eat(&mut self, mark: u8) -> bool {
        let is_next = self.peek() == Some(mark);
        if is_next {
            self.advance(1);
        }
        is_next
    }

    /// Takes bytes as long as they please; may take none. `keep` must refuse no half of a character.
    pub fn take(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|b| !keep(b)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    pub fn token(&mut self) -> Option<&'a str> {
        Some(self.take(|b| TOKEN.has(b))).filter(|token| !token.is_empty())
    }

    /// Takes all before the first `mark`; all there is, where there is none.
    pub fn until(&mut self, mark: u8) -> &'a str {
        let end = memchr(mark, self.rest.as_bytes()).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn advance(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Takes a quoted string with its quotes; `None` if it is not closed.
    pub fn quoted(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut from = 1;
        loop {
            let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
            if bytes[at] == b'"' {
                return Some(self.advance(at + 1));
            }
            // Whatever stands behind a backslash has no meaning.
            from = at + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_one_reading() {
        let good: &[(&str, &str, &str)] = &[
            ("To: x", "To", "x"),
            ("To :x", "To", "x"),
            ("To\t : \t x \t", "To", "x"),
            ("To:\r\n x\r\n\ty", "To", "x y"),
            ("Subject:", "Subject", ""),
            ("X: a:b", "X", "a:b"),
            ("X: \"\\\0\"", "X", "\"\\\0\""),
        ];
        for (line, name, value) in good {
            let read = lex_line(line, line.contains("\r\n"), true).unwrap();
            assert_eq!((read.name, read.value.as_ref()), (*name, *value), "{line:?}");
        }
        let bad =
            ["", "To", " To: x", ": x", "T o: x", "To\0: x", "To\u{b}: x", "Tö: x", "X: a\0", "X: a\rb", "X: a\nTo: y"];
        for line in bad.iter().chain(&["X: \"\\\r\"", "X: \"\\\n\"", "X: \\\0", "X: \"a\" \\\0"]) {
            assert!(lex_line(line, false, true).is_err(), "{line:?}");
        }
    }

    #[test]
    fn lines_fold_where_a_blank_follows() {
        let head = Head::lex("start\r\nA: 1\r\n 2\r\nB: 3\r\nnonsense\r\nl: 7");
        let lines: Vec<(&str, &str)> = head.lines.iter().map(|line| (line.name, line.value.as_ref())).collect();
        assert_eq!((head.start, lines), ("start", vec![("A", "1 2"), ("B", "3"), ("l", "7")]));
        assert_eq!(head.fault, Some("header line without a colon".into()));
        assert_eq!(head.content_length(), Ok(Some(7)));
    }

    #[test]
    fn a_length_is_digits_and_stands_once() {
        for (lines, length) in [("X: 1", Ok(None)), ("l: 0012", Ok(Some(12))), ("CONTENT-length : 3", Ok(Some(3)))] {
            assert_eq!(Head::lex(&format!("s\r\n{lines}")).content_length(), length);
        }
        let too_long = format!("l: {}0", u64::MAX);
        for lines in ["l: -1", "l: +1", "l:", "l: 1 2", "l: 0x1", "l: 1, 1", "l: 1\r\nContent-Length: 1", &too_long] {
            assert!(Head::lex(&format!("s\r\n{lines}")).content_length().is_err(), "{lines}");
        }
    }

    #[test]
    fn commas_part_outside_quotes_and_brackets() {
        let value = r#""a, \", b" <sip:x,y@h>, <sip:z> ;p="q,r" , w"#;
        let parts: Vec<&str> = split_commas(value).collect();
        assert_eq!(parts, [r#""a, \", b" <sip:x,y@h>"#, r#"<sip:z> ;p="q,r""#, "w"]);
        assert_eq!(split_commas("").collect::<Vec<_>>(), [""]);
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_the_text(text in "[^\\p{Cc}]{0,40}") {
            let quoted = quote(&text);
            prop_assert_eq!(unquote(&quoted), text.as_str());
            let mut scan = Scan::new(&quoted);
            prop_assert_eq!(scan.quoted(), Some(quoted.as_str()));
        }

        #[test]
        fn nothing_ends_the_line(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(char::is_control));
            prop_assert!(!quote(&text).contains(char::is_control));
        }
    }
}
