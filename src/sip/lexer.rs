//! Bytes to lines to pieces: the head of a message cut into header lines, and the small scanner that all headers share.
//!
//! There is one reading of each line, so that no other parser on the way can see another message (header smuggling):
//! lines end in CRLF and nothing else, names are tokens, control bytes stand in quoted pairs alone.

use std::borrow::Cow;

/// Bytes of one message, head and body: what one datagram can carry, and the bound of a stream's buffer.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Header lines of one message. Real ones have 10 to 40; RFC 4475's longest has 44.
pub const HEADERS_MAX: usize = 128;
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
    pub start: &'a str,
    pub lines: Vec<Line<'a>>,
    /// The first thing wrong.
    pub fault: Option<Fault>,
}

/// The first CRLF CRLF at or after `from`.
pub fn find_head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(next) = bytes.get(at..)?.iter().position(|b| *b == b'\r') {
        at += next;
        if bytes[at..].starts_with(b"\r\n\r\n") {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// How many bytes of leading line ends to skip (RFC 3261 section 7.5).
pub fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}

impl<'a> Head<'a> {
    /// Cuts `text`, which has no empty line at its end.
    pub fn lex(text: &'a str) -> Head<'a> {
        let (start, mut rest) = text.split_once("\r\n").unwrap_or((text, ""));
        let mut head = Head { start, lines: Vec::with_capacity(16), fault: None };
        while !rest.is_empty() {
            let end = header_end(rest);
            let (line, next) = rest.split_at(end);
            rest = next.strip_prefix("\r\n").unwrap_or(next);
            if head.lines.len() == HEADERS_MAX {
                head.note("too many header lines");
                break;
            }
            match lex_line(line) {
                Ok(line) => head.lines.push(line),
                Err(why) => head.note(why),
            }
        }
        head
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

/// The end of the header that `text` begins with: the first CRLF that no blank follows (RFC 3261 section 7.3.1).
fn header_end(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("\r\n").map(|at| from + at) {
        if !text[at + 2..].starts_with([' ', '\t']) {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

fn lex_line(line: &str) -> Result<Line<'_>, Why> {
    if line.len() > HEADER_MAX {
        return Err("header line too long");
    }
    let (name, value) = line.split_once(':').ok_or("header line without a colon")?;
    // Blanks before the colon are legal (HCOLON) and must not make another header of it: they are no part of the name.
    let name = name.trim_end_matches([' ', '\t']);
    if !is_token(name) {
        return Err("header name is not a token");
    }
    let value = unfold(value);
    check_controls(&value)?;
    Ok(Line { name, value })
}

/// Each line end with its blanks becomes one space.
fn unfold(value: &str) -> Cow<'_, str> {
    if !value.contains("\r\n") {
        return Cow::Borrowed(trim(value));
    }
    let lines: Vec<&str> = value.split("\r\n").map(trim).collect();
    Cow::Owned(trim(&lines.join(" ")).to_owned())
}

/// Control bytes are legal as the second half of a quoted pair (RFC 3261 section 25.1), CR and LF never.
fn check_controls(value: &str) -> Result<(), Why> {
    let is_control = |b: &u8| b.is_ascii_control() && *b != b'\t';
    if !value.as_bytes().iter().any(is_control) {
        return Ok(());
    }
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
            byte if is_control(&byte) => return Err("control byte in a header"),
            _ => {}
        }
    }
    Ok(())
}

/// Cuts blanks off both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 3261 section 25.1, `token`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
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
    if !inner.contains('\\') {
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
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        self
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `mark`, if it is next.
    pub fn eat(&mut self, mark: char) -> bool {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes bytes as long as they please; may take none. `keep` must refuse no half of a character.
    pub fn take(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|b| !keep(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub fn token(&mut self) -> Option<&'a str> {
        Some(self.take(is_token_byte)).filter(|token| !token.is_empty())
    }

    /// Takes a quoted string with its quotes; `None` if it is not closed.
    pub fn quoted(&mut self) -> Option<&'a str> {
        let mut escaped = false;
        let inner = self.rest.strip_prefix('"')?;
        let end = inner.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (quoted, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        Some(quoted)
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
            let read = lex_line(line).unwrap();
            assert_eq!((read.name, read.value.as_ref()), (*name, *value), "{line:?}");
        }
        let bad =
            ["", "To", " To: x", ": x", "T o: x", "To\0: x", "To\u{b}: x", "Tö: x", "X: a\0", "X: a\rb", "X: a\nTo: y"];
        for line in bad.iter().chain(&["X: \"\\\r\"", "X: \"\\\n\"", "X: \\\0", "X: \"a\" \\\0"]) {
            assert!(lex_line(line).is_err(), "{line:?}");
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
