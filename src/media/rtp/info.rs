//! Keys in SIP INFO bodies, as gateways without RFC 4733 send them: `application/dtmf-relay` (`Signal=5`, `Duration=160`)
//! and `application/dtmf` (the key alone). No RFC defines either; what is read here is what is seen.

/// A body is two short lines; what is longer is something else.
const BODY_MOST: usize = 256;
/// A press that is told to last longer lasts that long: nobody waits for it.
const HELD_MOST_MS: u32 = 10_000;

/// One press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// `0`-`9`, `*`, `#`, `A`-`D`.
    pub key: char,
    /// How long it was down, where that is told. Most send the INFO when the key is up again.
    pub held_ms: Option<u16>,
}

/// Reads the body of an INFO. `None` if it is none of a key: another type, a hook flash, or nothing that can be read.
pub fn parse(content_type: &str, body: &[u8]) -> Option<Info> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_MOST)?;
    if kind.eq_ignore_ascii_case("application/dtmf-relay") {
        return relay(text);
    }
    if !kind.eq_ignore_ascii_case("application/dtmf") {
        return None;
    }
    // Some write the lines of the other type here.
    relay(text).or_else(|| Some(Info { key: key(text.trim())?, held_ms: None }))
}

fn relay(text: &str) -> Option<Info> {
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let held = value("Duration").and_then(|text| text.parse::<u32>().ok());
    Some(Info { key: key(value("Signal")?)?, held_ms: held.map(|ms| ms.min(HELD_MOST_MS) as u16) })
}

/// A sign, or the number of an event (RFC 4733 section 3.2) from 10 on.
fn key(text: &str) -> Option<char> {
    match text {
        "10" => Some('*'),
        "11" => Some('#'),
        "12" => Some('A'),
        "13" => Some('B'),
        "14" => Some('C'),
        "15" => Some('D'),
        _ => {
            let mut signs = text.chars().map(|sign| sign.to_ascii_uppercase());
            let sign = signs.next().filter(|sign| matches!(sign, '0'..='9' | '*' | '#' | 'A'..='D'))?;
            signs.next().is_none().then_some(sign)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_that_are_seen() {
        let relay = "application/dtmf-relay";
        type Row<'a> = (&'a str, &'a [u8], Option<(char, Option<u16>)>);
        let table: &[Row] = &[
            (relay, b"Signal=5\r\nDuration=160\r\n", Some(('5', Some(160)))),
            (relay, b"Signal= 5\r\nDuration= 160\r\n", Some(('5', Some(160)))),
            (relay, b"Signal=*\nDuration=250", Some(('*', Some(250)))),
            (relay, b"duration=90\nsignal=#", Some(('#', Some(90)))),
            (relay, b"Signal=11\r\n", Some(('#', None))),
            (relay, b"Signal=d\r\nDuration=x\r\n", Some(('D', None))),
            (relay, b"Signal=1\r\nDuration=4294967295\r\n", Some(('1', Some(10_000)))),
            (relay, b"Signal=1\r\nDuration=99999999999\r\n", Some(('1', None))),
            (relay, b"Signal=16\r\n", None),
            (relay, b"Signal=12345\r\n", None),
            (relay, b"Signal=\r\n", None),
            (relay, b"5", None),
            (relay, b"Signal=\xff\r\n", None),
            ("Application/DTMF-Relay ; charset=utf-8", b"Signal=0\r\n", Some(('0', None))),
            ("application/dtmf", b"9", Some(('9', None))),
            ("application/dtmf", b" # \r\n", Some(('#', None))),
            ("application/dtmf", b"Signal=7\r\nDuration=100\r\n", Some(('7', Some(100)))),
            ("application/dtmf", b"99", None),
            ("application/dtmf", b"", None),
            ("application/sdp", b"9", None),
            ("", b"9", None),
        ];
        for (kind, body, expected) in table {
            let expected = expected.map(|(key, held_ms)| Info { key, held_ms });
            assert_eq!(parse(kind, body), expected, "{kind} {:?}", String::from_utf8_lossy(body));
        }
        assert_eq!(parse(relay, &[&b"Signal=5\r\n"[..], &[b'x'; BODY_MOST]].concat()), None);
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..300), relay: bool) {
            let kind = if relay { "application/dtmf-relay" } else { "application/dtmf" };
            let key = parse(kind, &body).map(|info| info.key);
            prop_assert!(key.is_none_or(|key| "0123456789*#ABCD".contains(key)));
        }
    }
}
