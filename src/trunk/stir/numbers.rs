//! For which numbers a certificate may sign: its TN Authorization List (RFC 8226 section 9).

/// The extension's name, id-pe-TNAuthList: 1.3.6.1.5.5.7.1.26.
const NAME: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 1, 26];

/// Tags of DER (X.690): what a certificate and the list are built of.
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const TEXT: u8 = 0x16;
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// A certificate's extensions; and the entries of a list: a provider's code, a range of numbers, one number.
const EXTENSIONS: u8 = 0xa3;
const CODE: u8 = 0xa0;
const RANGE: u8 = 0xa1;
const ONE: u8 = 0xa2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Service provider codes: for all numbers of these providers, whichever they are.
    pub providers: Vec<String>,
    /// How many digits, the first number, and how many numbers.
    ranges: Vec<(usize, u64, u64)>,
}

impl Numbers {
    /// Of a certificate in DER; `None` where it has no such list.
    pub fn of(certificate: &[u8]) -> Result<Option<Numbers>, &'static str> {
        let Some(list) = extension(certificate).ok_or("it is no certificate")? else { return Ok(None) };
        read(list).map(Some).ok_or("its list of numbers (TNAuthList, RFC 8226) cannot be read")
    }

    /// What a provider's code stands for only its registry knows: whoever has one may sign for any.
    pub fn cover(&self, number: &str) -> bool {
        let value = number.parse().ok();
        let within = |(length, first, count): &(usize, u64, u64)| {
            *length == number.len() && value.is_some_and(|value: u64| value >= *first && value - first < *count)
        };
        !self.providers.is_empty() || self.ranges.iter().any(within)
    }
}

/// One element of DER and what follows it: its tag, its content.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the one element that there is.
fn whole(input: &[u8], tag: u8) -> Option<&[u8]> {
    element(input).filter(|(found, _, rest)| *found == tag && rest.is_empty()).map(|(_, content, _)| content)
}

/// All elements, one after the other.
fn elements(mut input: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let (tag, content, rest) = element(input)?;
        all.push((tag, content));
        input = rest;
    }
    Some(all)
}

/// The content of the extension (RFC 5280 section 4.1): `Some(None)` where the certificate has none of that name.
fn extension(certificate: &[u8]) -> Option<Option<&[u8]>> {
    let (_, signed) = *elements(whole(certificate, SEQUENCE)?)?.first()?;
    let Some((_, all)) = elements(signed)?.into_iter().find(|(tag, _)| *tag == EXTENSIONS) else { return Some(None) };
    for (_, extension) in elements(whole(all, SEQUENCE)?)? {
        // Name, whether it is critical (which may be left out), content.
        let parts = elements(extension)?;
        if parts.first() == Some(&(OBJECT, &NAME)) {
            return parts.last().filter(|(tag, _)| *tag == OCTETS).map(|(_, content)| Some(*content));
        }
    }
    Some(None)
}

fn read(list: &[u8]) -> Option<Numbers> {
    let mut numbers = Numbers::default();
    for (tag, entry) in elements(whole(list, SEQUENCE)?)? {
        match tag {
            CODE => numbers.providers.push(text(whole(entry, TEXT)?)?.to_owned()),
            ONE => numbers.add(text(whole(entry, TEXT)?)?, 1),
            RANGE => match elements(whole(entry, SEQUENCE)?)?[..] {
                [(TEXT, first), (INTEGER, count), ..] => numbers.add(text(first)?, natural(count)?),
                _ => return None,
            },
            _ => return None,
        }
    }
    Some(numbers)
}

impl Numbers {
    /// A number with `#` or `*` is nobody's who calls from elsewhere.
    fn add(&mut self, first: &str, count: u64) {
        let value = first.parse().ok();
        self.ranges.extend(value.map(|value| (first.len(), value, count)));
    }
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok().filter(|text| text.is_ascii() && !text.is_empty())
}

/// Below 2^63, as DER writes it.
fn natural(octets: &[u8]) -> Option<u64> {
    let is_natural = octets.first().is_some_and(|first| first & 0x80 == 0) && octets.len() <= 8;
    is_natural.then(|| octets.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let long: &[u8] = if length < 0x80 { &[] } else { &[0x81] };
        [&[tag], long, &[length], content].concat()
    }

    pub fn code(text: &str) -> Vec<u8> {
        tagged(CODE, &tagged(TEXT, text.as_bytes()))
    }

    pub fn one(number: &str) -> Vec<u8> {
        tagged(ONE, &tagged(TEXT, number.as_bytes()))
    }

    pub fn range(first: &str, count: &[u8]) -> Vec<u8> {
        tagged(RANGE, &tagged(SEQUENCE, &[tagged(TEXT, first.as_bytes()), tagged(INTEGER, count)].concat()))
    }

    /// A certificate with this list.
    pub fn listing(entries: &[Vec<u8>]) -> rcgen::CertificateParams {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let list = tagged(SEQUENCE, &entries.concat());
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], list)];
        params
    }

    fn numbers_of(params: rcgen::CertificateParams) -> Result<Option<Numbers>, &'static str> {
        Numbers::of(params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der())
    }

    /// A list's entries, some numbers that it covers, and some that it does not.
    type Row<'a> = (&'a [Vec<u8>], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn a_certificate_lists_the_numbers_that_it_may_sign_for() {
        let thousand = [0x03, 0xe8];
        let rows: &[Row<'_>] = &[
            (&[one("12155551212")], &["12155551212"], &["12155551213", "2155551212", "012155551212", ""]),
            (
                &[range("12155551000", &thousand)],
                &["12155551000", "12155551999"],
                &["12155550999", "12155552000", "2155551000"],
            ),
            (&[range("12155559999", &[2])], &["12155559999", "12155560000"], &["12155560001"]),
            (&[one("390611"), one("390622")], &["390611", "390622"], &["390633"]),
            (&[range("999999999999999", &[0x7f; 8])], &["999999999999999"], &["1"]),
            (&[code("709J")], &["12155551212", "1"], &[]),
            (&[code("709J"), one("1")], &["12155551212"], &[]),
            (&[one("*31")], &[], &["31", "*31"]),
            (&[], &[], &["1"]),
        ];
        for (entries, covered, others) in rows {
            let numbers = numbers_of(listing(entries)).unwrap().unwrap();
            assert!(covered.iter().all(|number| numbers.cover(number)), "{numbers:?}");
            assert!(!others.iter().any(|number| numbers.cover(number)), "{numbers:?}");
        }
        assert_eq!(numbers_of(listing(&[code("709J"), code("1234")])).unwrap().unwrap().providers, ["709J", "1234"]);
        assert_eq!(numbers_of(rcgen::CertificateParams::new(Vec::new()).unwrap()), Ok(None));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told() {
        let wrong = [
            tagged(0xa7, &tagged(TEXT, b"1")),
            tagged(ONE, b"1"),
            tagged(ONE, &tagged(INTEGER, b"1")),
            tagged(ONE, &[]),
            one("\u{e9}"),
            range("1", &[0x80]),
            range("1", &[1; 9]),
            range("1", &[]),
            tagged(RANGE, &tagged(SEQUENCE, &tagged(TEXT, b"1"))),
            vec![ONE, 0x7f],
            vec![ONE],
        ];
        for entry in wrong {
            assert!(numbers_of(listing(std::slice::from_ref(&entry))).is_err(), "{entry:?}");
        }
        for certificate in [&b""[..], b"0", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80\x00\x00"] {
            assert!(Numbers::of(certificate).is_err(), "{certificate:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_count_from_their_first_number(first in 10_000_u64..90_000, count in 2_u64..5_000, number in 10_000_u64..99_999) {
            let numbers = read(&tagged(SEQUENCE, &range(&first.to_string(), &count.to_be_bytes()))).unwrap();
            prop_assert_eq!(numbers.cover(&number.to_string()), (first..first + count).contains(&number));
        }

        #[test]
        fn no_bytes_do_harm(at in 0_usize..400, octet in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Numbers::of(&noise);
            let params = listing(&[code("709J"), one("12155551212"), range("12155551212", &[2])]);
            let mut certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
            let at = at % certificate.len();
            certificate[at] = octet;
            let _ = Numbers::of(&certificate);
        }
    }
}
