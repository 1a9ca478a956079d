//! The headers of a message: the names that we have a word for, and the list of all that it has.

/// How often a header may stand in one message.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Count {
    /// Twice is refused: two parsers could each believe another one. What nothing hangs on may stand as often as it likes.
    Once,
    Many,
}
use Count::{Many, Once};

macro_rules! headers {
    ($($variant:ident $name:literal $compact:literal $count:ident;)*) => {
        /// A header that we have a word for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Known {
            $($variant,)*
        }

        impl Known {
            const ALL: &[Known] = &[$(Known::$variant,)*];

            /// Name, compact name (RFC 3261 section 7.3.3 and the RFC of each), count.
            const fn row(self) -> (&'static str, &'static str, Count) {
                match self {
                    $(Known::$variant => ($name, $compact, $count),)*
                }
            }
        }
    };
}

headers! {
    Accept "Accept" "" Many;
    AcceptContact "Accept-Contact" "a" Many;
    AcceptEncoding "Accept-Encoding" "" Many;
    AcceptLanguage "Accept-Language" "" Many;
    AlertInfo "Alert-Info" "" Many;
    Allow "Allow" "" Many;
    AllowEvents "Allow-Events" "u" Many;
    AuthenticationInfo "Authentication-Info" "" Many;
    Authorization "Authorization" "" Many;
    CallId "Call-ID" "i" Once;
    CallInfo "Call-Info" "" Many;
    Contact "Contact" "m" Many;
    ContentDisposition "Content-Disposition" "" Once;
    ContentEncoding "Content-Encoding" "e" Many;
    ContentLanguage "Content-Language" "" Many;
    ContentLength "Content-Length" "l" Once;
    ContentType "Content-Type" "c" Once;
    CSeq "CSeq" "" Once;
    Date "Date" "" Many;
    Diversion "Diversion" "" Many;
    ErrorInfo "Error-Info" "" Many;
    Event "Event" "o" Once;
    Expires "Expires" "" Once;
    From "From" "f" Once;
    Identity "Identity" "y" Many;
    InReplyTo "In-Reply-To" "" Many;
    Join "Join" "" Once;
    MaxForwards "Max-Forwards" "" Once;
    MimeVersion "MIME-Version" "" Many;
    MinExpires "Min-Expires" "" Once;
    MinSe "Min-SE" "" Once;
    Organization "Organization" "" Many;
    PAssertedIdentity "P-Asserted-Identity" "" Many;
    PCalledPartyId "P-Called-Party-ID" "" Once;
    Priority "Priority" "" Many;
    Privacy "Privacy" "" Once;
    ProxyAuthenticate "Proxy-Authenticate" "" Many;
    ProxyAuthorization "Proxy-Authorization" "" Many;
    ProxyRequire "Proxy-Require" "" Many;
    RAck "RAck" "" Once;
    Reason "Reason" "" Many;
    RecordRoute "Record-Route" "" Many;
    ReferSub "Refer-Sub" "" Once;
    ReferTo "Refer-To" "r" Once;
    ReferredBy "Referred-By" "b" Once;
    RejectContact "Reject-Contact" "j" Many;
    Replaces "Replaces" "" Once;
    ReplyTo "Reply-To" "" Once;
    RequestDisposition "Request-Disposition" "d" Many;
    Require "Require" "" Many;
    RetryAfter "Retry-After" "" Once;
    Route "Route" "" Many;
    RSeq "RSeq" "" Once;
    Server "Server" "" Many;
    SessionExpires "Session-Expires" "x" Once;
    Subject "Subject" "s" Many;
    SubscriptionState "Subscription-State" "" Once;
    Supported "Supported" "k" Many;
    Timestamp "Timestamp" "" Many;
    To "To" "t" Once;
    Unsupported "Unsupported" "" Many;
    UserAgent "User-Agent" "" Many;
    Via "Via" "v" Many;
    Warning "Warning" "" Many;
    WwwAuthenticate "WWW-Authenticate" "" Many;
}

impl Known {
    /// Of a name, long or compact, without regard to case.
    fn of(name: &str) -> Option<Known> {
        let mut slot = slot(name);
        while let Some((other, known)) = TABLE[slot] {
            if other == name || other.eq_ignore_ascii_case(name) {
                return Some(known);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// Its place in a set of bits.
    pub fn bit(self) -> u128 {
        1 << self as u8
    }
}

/// Where a name is looked for: three times as many places as there are names, so that hardly one is not in its own.
const SLOTS: usize = 256;

static TABLE: [Option<(&str, Known)>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut at = 0;
    while at < Known::ALL.len() {
        let known = Known::ALL[at];
        let (long, compact, _) = known.row();
        enter(&mut table, long, known);
        enter(&mut table, compact, known);
        at += 1;
    }
    table
};

const fn enter(table: &mut [Option<(&'static str, Known)>; SLOTS], name: &'static str, known: Known) {
    if name.is_empty() {
        return;
    }
    let mut slot = slot(name);
    while table[slot].is_some() {
        slot = (slot + 1) % SLOTS;
    }
    table[slot] = Some((name, known));
}

/// By length and three of its letters, large as small.
const fn slot(name: &str) -> usize {
    let name = name.as_bytes();
    let [first, .., last] = name else { return if let [only] = name { (*only | 0x20) as usize } else { 0 } };
    let middle = name[name.len() / 2];
    let mixed = (*first | 0x20) as usize + 31 * (middle | 0x20) as usize + 7 * (*last | 0x20) as usize + 3 * name.len();
    mixed % SLOTS
}

/// The name of a header as we write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Known(Known),
    Other(&'a str),
}

impl<'a> Name<'a> {
    pub fn of(name: &'a str) -> Name<'a> {
        Known::of(name).map_or(Name::Other(name), Name::Known)
    }

    pub fn text(self) -> &'a str {
        match self {
            Name::Known(known) => known.row().0,
            Name::Other(name) => name,
        }
    }

    /// Names are the same whatever their case.
    fn is(self, other: Name) -> bool {
        match (self, other) {
            (Name::Known(known), Name::Known(other)) => known == other,
            (Name::Other(name), Name::Other(other)) => name.eq_ignore_ascii_case(other),
            _ => false,
        }
    }

    pub fn count(self) -> Count {
        match self {
            Name::Known(known) => known.row().2,
            Name::Other(_) => Many,
        }
    }
}

/// A piece of a text.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `at`, `length`: below 4 GiB, as all texts here are many times over.
    fn new(at: usize, length: usize) -> Span {
        Span { start: at as u32, end: (at + length) as u32 }
    }

    fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug)]
enum Label {
    Known(Known),
    Other(Span),
}

/// The headers of a message, in its order: one text, and where in it they stand. A text of its own for each name and value
/// would cost as much as all the rest of reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    text: String,
    lines: Vec<(Label, Span)>,
}

impl Headers {
    /// None so far, of a `head` that is being read: what is a piece of it will be found there.
    pub fn of_head(head: &str, lines: usize) -> Headers {
        Headers { text: head.to_owned(), lines: Vec::with_capacity(lines) }
    }

    /// Adds one whose name and value are pieces of that `head`; or are not, as a value that was folded.
    pub fn take(&mut self, head: &str, name: Name, value: &str) {
        let mut place = |part: &str| {
            let at = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
            if head.get(at..).is_some_and(|rest| rest.len() >= part.len()) {
                Span::new(at, part.len())
            } else {
                write(&mut self.text, part)
            }
        };
        let label = match name {
            Name::Known(known) => Label::Known(known),
            Name::Other(name) => Label::Other(place(name)),
        };
        let value = place(value);
        self.lines.push((label, value));
    }

    pub fn push(&mut self, name: Name, value: &str) {
        self.take("", name, value);
    }

    /// Names as we write them, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(label, value)| (self.name(*label).text(), value.of(&self.text)))
    }

    /// The values of all of that name.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(label, _)| self.name(*label).is(name)).map(|(_, value)| value.of(&self.text))
    }

    /// Those of which that is so, and no others.
    pub fn some(&self, is_kept: impl Fn(Known) -> bool) -> Headers {
        let kept = self.lines.iter().filter_map(|(label, value)| match label {
            Label::Known(known) if is_kept(*known) => Some((*known, value.of(&self.text))),
            _ => None,
        });
        let (lines, length) =
            kept.clone().fold((0, 0), |(lines, length), (_, value)| (lines + 1, length + value.len()));
        let mut headers = Headers { text: String::with_capacity(length), lines: Vec::with_capacity(lines) };
        kept.for_each(|(known, value)| headers.push(Name::Known(known), value));
        headers
    }

    /// Gives the first header of that name another value.
    pub fn replace(&mut self, name: Known, value: &str) {
        let is_it = |(label, _): &&mut (Label, Span)| matches!(label, Label::Known(known) if *known == name);
        if let Some((_, place)) = self.lines.iter_mut().find(is_it) {
            *place = write(&mut self.text, value);
        }
    }

    pub fn remove(&mut self, name: Name) {
        let lines = self.lines.iter().filter(|(label, _)| !self.name(*label).is(name)).copied().collect();
        self.lines = lines;
    }

    fn name(&self, label: Label) -> Name<'_> {
        match label {
            Label::Known(known) => Name::Known(known),
            Label::Other(name) => Name::Other(name.of(&self.text)),
        }
    }
}

fn write(text: &mut String, part: &str) -> Span {
    let at = text.len();
    text.push_str(part);
    Span::new(at, part.len())
}

/// By what they say, not by where it stands.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_known_in_each_form() {
        for known in Known::ALL {
            let (long, compact, _) = known.row();
            for name in [long, &long.to_lowercase(), &long.to_uppercase()] {
                assert_eq!(Name::of(name), Name::Known(*known), "{name}");
            }
            if !compact.is_empty() {
                assert_eq!(Name::of(&compact.to_uppercase()), Name::Known(*known), "{compact}");
            }
            for other in [&format!("{long}s"), &long.replacen(&long[1..2], "_", 1)] {
                assert_eq!(Name::of(other), Name::Other(other), "{other}");
            }
        }
        assert_eq!(Name::of(""), Name::Other(""));
    }

    #[test]
    fn each_stands_where_it_was_put() {
        let head = "start\r\nOwn: 1\r\nSubject: two";
        let mut headers = Headers::of_head(head, 0);
        headers.take(head, Name::Other(&head[7..10]), &head[12..13]);
        headers.take(head, Name::Known(Known::Subject), &head[24..]);
        headers.take(head, Name::Known(Known::Subject), "folded");
        headers.push(Name::Other("Mine"), "");
        let all = [("Own", "1"), ("Subject", "two"), ("Subject", "folded"), ("Mine", "")];
        assert_eq!(headers.iter().collect::<Vec<_>>(), all);
        assert!(headers.text.starts_with(head) && headers.text.ends_with("foldedMine"));
        headers.replace(Known::Subject, "another");
        headers.replace(Known::To, "nobody");
        assert_eq!(headers.all(Name::of("s")).collect::<Vec<_>>(), ["another", "folded"]);
        headers.remove(Name::of("own"));
        headers.remove(Name::of("subject"));
        let mut built = Headers::default();
        built.push(Name::Other("Mine"), "");
        assert_eq!(headers, built);
    }
}
