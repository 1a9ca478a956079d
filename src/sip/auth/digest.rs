//! Digest (RFC 7616, in SIP RFC 3261 section 22 and RFC 8760): challenges and credentials as they are written, and the
//! sum that both sides work out. Pure.

use super::Login;
use crate::sip::lexer::{PARAMS_MAX, Scan, TOKEN, quote, trim, unquote};
use crate::sip::message::{Request, Response};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// Headers of one name that are looked at: a chain of proxies has a handful.
const MOST_HEADERS: usize = 8;
/// Bytes of a name, realm, nonce or address in them.
const LONGEST_WORD: usize = 512;

/// How the sum is made; the later the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

impl Algorithm {
    const ALL: [(Algorithm, &str); 3] =
        [(Algorithm::Md5, "MD5"), (Algorithm::Sha256, "SHA-256"), (Algorithm::Sha512_256, "SHA-512-256")];

    pub fn name(self) -> &'static str {
        Algorithm::ALL.iter().find(|(own, _)| *own == self).map_or("MD5", |(_, name)| name)
    }

    /// Session variants (`-sess`) bind nothing that we keep, and nobody's trunk asks for them: not known.
    fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.iter().find(|(_, own)| own.eq_ignore_ascii_case(name)).map(|(own, _)| *own)
    }

    fn sum(self, parts: &[&[u8]]) -> String {
        match self {
            Algorithm::Md5 => sum::<Md5>(parts),
            Algorithm::Sha256 => sum::<Sha256>(parts),
            Algorithm::Sha512_256 => sum::<Sha512_256>(parts),
        }
    }
}

/// In lower case hexadecimal; parts are joined by colons.
fn sum<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How much of a message the sum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Nothing is said of it (RFC 2069, which some registrars still speak): neither count nor client's nonce.
    Bare,
    Auth,
    AuthInt,
}

/// One `WWW-Authenticate` or `Proxy-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    pub quality: Quality,
    pub stale: bool,
}

/// One `Authorization` or `Proxy-Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub realm: String,
    pub nonce: String,
    pub uri: String,
    pub response: String,
    pub algorithm: Algorithm,
    pub quality: Quality,
    /// As they stand there, since they go into the sum.
    pub nc: String,
    pub cnonce: String,
}

/// `Digest name=value, name="value" …`: names in lower case, values without their quotes; `None` where it is another scheme,
/// a name stands twice, or it cannot be read.
fn words(value: &str) -> Option<Vec<(String, String)>> {
    let (scheme, rest) = trim(value).split_once([' ', '\t'])?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let mut scan = Scan::new(rest);
    let mut words: Vec<(String, String)> = Vec::new();
    loop {
        // Empty members of a list mean nothing (RFC 9110 section 5.6.1).
        while scan.blanks().eat(b',') {}
        if scan.is_done() {
            return Some(words);
        }
        let name = scan.token()?.to_ascii_lowercase();
        if !scan.blanks().eat(b'=') {
            return None;
        }
        scan.blanks();
        let value = match scan.rest.starts_with('"') {
            true => unquote(scan.quoted()?).into_owned(),
            false => scan.take(|b| TOKEN.has(b) || matches!(b, b':' | b'/' | b'@' | b'=')).to_owned(),
        };
        let twice = words.iter().any(|(other, _)| *other == name);
        if twice || value.len() > LONGEST_WORD || words.len() == PARAMS_MAX {
            return None;
        }
        words.push((name, value));
        if !(scan.blanks().is_done() || scan.rest.starts_with(',')) {
            return None;
        }
    }
}

fn word(words: &[(String, String)], name: &str) -> Option<String> {
    words.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
}

/// Where nothing is said it is MD5 (RFC 7616 section 3.3).
fn algorithm(words: &[(String, String)]) -> Option<Algorithm> {
    word(words, "algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::parse(&name))
}

impl Challenge {
    /// `None` for what we cannot answer: another scheme, an algorithm or a quality that we do not know.
    pub fn parse(value: &str) -> Option<Challenge> {
        let words = words(value)?;
        let offered = word(&words, "qop");
        let offers = |name: &str| {
            let mut all = offered.as_deref().unwrap_or_default().split(',');
            all.any(|own| own.trim().eq_ignore_ascii_case(name))
        };
        let quality = match offered {
            None => Quality::Bare,
            Some(_) if offers("auth") => Quality::Auth,
            Some(_) if offers("auth-int") => Quality::AuthInt,
            Some(_) => return None,
        };
        Some(Challenge {
            realm: word(&words, "realm")?,
            nonce: word(&words, "nonce").filter(|nonce| !nonce.is_empty())?,
            opaque: word(&words, "opaque"),
            algorithm: algorithm(&words)?,
            quality,
            stale: word(&words, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// As we write it.
    pub fn write(realm: &str, nonce: &str, algorithm: Algorithm, stale: bool) -> String {
        let stale = if stale { ",stale=true" } else { "" };
        let (realm, algorithm) = (quote(realm), algorithm.name());
        format!("Digest realm={realm},nonce=\"{nonce}\",algorithm={algorithm},qop=\"auth\"{stale}")
    }
}

impl Credentials {
    pub fn parse(value: &str) -> Option<Credentials> {
        let words = words(value)?;
        let text = |name: &str| word(&words, name);
        let quality = match text("qop").map(|quality| quality.to_ascii_lowercase()).as_deref() {
            None => Quality::Bare,
            Some("auth") => Quality::Auth,
            Some("auth-int") => Quality::AuthInt,
            Some(_) => return None,
        };
        Some(Credentials {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?,
            algorithm: algorithm(&words)?,
            quality,
            nc: text("nc").unwrap_or_default(),
            cnonce: text("cnonce").unwrap_or_default(),
        })
    }

    /// How often the client has used the nonce, this time counted.
    pub fn count(&self) -> Option<u32> {
        let is_count = self.nc.len() == 8 && self.nc.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(&self.nc, 16).ok().filter(|count| is_count && *count > 0)
    }

    /// What `response` should be (RFC 7616 section 3.4.1), for this password.
    pub fn sum(&self, password: &[u8], method: &str, body: &[u8]) -> String {
        let Credentials { username, realm, nonce, uri, algorithm, nc, cnonce, .. } = self;
        let secret = algorithm.sum(&[username.as_bytes(), realm.as_bytes(), password]);
        let asked = match self.quality {
            Quality::AuthInt => algorithm.sum(&[method.as_bytes(), uri.as_bytes(), algorithm.sum(&[body]).as_bytes()]),
            Quality::Bare | Quality::Auth => algorithm.sum(&[method.as_bytes(), uri.as_bytes()]),
        };
        let quality = match self.quality {
            Quality::Bare => return algorithm.sum(&[secret.as_bytes(), nonce.as_bytes(), asked.as_bytes()]),
            Quality::Auth => "auth",
            Quality::AuthInt => "auth-int",
        };
        let parts = [secret.as_str(), nonce, nc, cnonce, quality, &asked];
        algorithm.sum(&parts.map(str::as_bytes))
    }

    /// As we write it, `response` being the sum.
    fn write(&self, opaque: Option<&str>) -> String {
        let mut text = format!(
            "Digest username={},realm={},nonce={},uri={},response=\"{}\",algorithm={}",
            quote(&self.username),
            quote(&self.realm),
            quote(&self.nonce),
            quote(&self.uri),
            self.response,
            self.algorithm.name(),
        );
        let quality = match self.quality {
            Quality::Bare => None,
            Quality::Auth => Some("auth"),
            Quality::AuthInt => Some("auth-int"),
        };
        if let Some(quality) = quality {
            text += &format!(",qop={quality},nc={},cnonce={}", self.nc, quote(&self.cnonce));
        }
        if let Some(opaque) = opaque {
            text += &format!(",opaque={}", quote(opaque));
        }
        text
    }
}

/// The header, and its value, that `request` is to be made again with after it was refused by `response` (401 or 407).
///
/// `None`: nothing in it that we may (`is_theirs`) or can answer. Of several challenges the strongest is taken (RFC 8760 section 2.4). What
/// was answered before and is asked again was refused; unless only its nonce had grown old, and there is another.
pub fn answer(
    login: &Login,
    request: &Request,
    response: &Response,
    cnonce: &str,
    is_theirs: impl Fn(&Challenge) -> bool,
) -> Option<(&'static str, String)> {
    let (asks, says) = match response.status() {
        401 => ("WWW-Authenticate", "Authorization"),
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    let password = login.password.as_ref()?;
    let asked = response.header_all(asks).take(MOST_HEADERS).filter_map(Challenge::parse);
    let challenge = asked.filter(is_theirs).max_by_key(|challenge| challenge.algorithm)?;
    let mut said = request.header_all(says).filter_map(Credentials::parse);
    if let Some(said) = said.find(|said| said.realm == challenge.realm)
        && (!challenge.stale || challenge.nonce == said.nonce)
    {
        return None;
    }
    let mut credentials = Credentials {
        username: login.username.clone(),
        realm: challenge.realm,
        nonce: challenge.nonce,
        uri: request.uri().to_string(),
        response: String::new(),
        algorithm: challenge.algorithm,
        quality: challenge.quality,
        nc: "00000001".to_owned(),
        cnonce: cnonce.to_owned(),
    };
    credentials.response = credentials.sum(password.bytes(), request.method().as_str(), request.body());
    Some((says, credentials.write(challenge.opaque.as_deref())))
}

/// The header, and a value as long as most registrars and proxies have us write: what a request must have room for before
/// anybody has asked. They name a realm that we are told, or that we call; nonces beyond 64 bytes are few.
pub fn usual(login: &Login, request: &Request) -> (&'static str, String) {
    let zeros = |length| "0".repeat(length);
    let credentials = Credentials {
        username: login.username.clone(),
        realm: login.realm.clone().unwrap_or_else(|| request.uri().host().to_owned()),
        nonce: zeros(64),
        uri: request.uri().to_string(),
        response: zeros(64),
        algorithm: Algorithm::Sha256,
        quality: Quality::Auth,
        nc: zeros(8),
        cnonce: zeros(16),
    };
    ("Proxy-Authorization", credentials.write(Some(&zeros(32))))
}

/// All credentials of a request that are of this scheme.
pub fn presented(request: &Request) -> impl Iterator<Item = Credentials> {
    request.header_all("Authorization").take(MOST_HEADERS).filter_map(Credentials::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7616 section 3.9.1, both algorithms.
    #[test]
    fn the_examples_of_rfc_7616() {
        let rows = [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ];
        for (algorithm, expected) in rows {
            let text = format!(
                "Digest username=\"Mufasa\",\r\n realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{expected}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let credentials = Credentials::parse(&text.replace("\r\n", "")).unwrap();
            assert_eq!(credentials.sum(b"Circle of Life", "GET", b""), expected);
            assert_eq!(credentials.count(), Some(1));
        }
    }

    /// RFC 7616 section 3.9.2: SHA-512-256, and a name that is no ASCII (there it is hashed; the sum is of the hash's plain).
    #[test]
    fn the_strongest_algorithm_sums_as_python_does() {
        // hashlib.new("sha512_256"): A1 = alice:example.org:secret, A2 = INVITE:sip:bob@example.org.
        let credentials = Credentials {
            username: "alice".into(),
            realm: "example.org".into(),
            nonce: "abc".into(),
            uri: "sip:bob@example.org".into(),
            response: String::new(),
            algorithm: Algorithm::Sha512_256,
            quality: Quality::Auth,
            nc: "00000001".into(),
            cnonce: "xyz".into(),
        };
        let expected = SHA_512_256;
        assert_eq!(credentials.sum(b"secret", "INVITE", b""), expected);
    }

    const SHA_512_256: &str = "359e7a3d154fbcfba49a5bf32791507a7a71e546ee3bf4e900b2f6c14901a1b5";

    /// RFC 2617 section 3.5, and the same without a quality (RFC 2069) and with the body in it, by Python's hashlib.
    #[test]
    fn each_quality_has_its_own_sum() {
        let base = Credentials {
            username: "Mufasa".into(),
            realm: "testrealm@host.com".into(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
            uri: "/dir/index.html".into(),
            response: String::new(),
            algorithm: Algorithm::Md5,
            quality: Quality::Auth,
            nc: "00000001".into(),
            cnonce: "0a4f113b".into(),
        };
        let rows = [
            (Quality::Auth, "6629fae49393a05397450978507c4ef1"),
            (Quality::Bare, "670fd8c2df070c60b045671b8b24ff02"),
            (Quality::AuthInt, "f93d61f87864e6c8c6a46b339ad998de"),
        ];
        for (quality, expected) in rows {
            let credentials = Credentials { quality, ..base.clone() };
            assert_eq!(credentials.sum(b"Circle Of Life", "GET", b"body"), expected, "{quality:?}");
        }
    }

    #[test]
    fn a_challenge_is_read_as_it_was_written() {
        for algorithm in Algorithm::ALL.map(|(own, _)| own) {
            for stale in [false, true] {
                let written = Challenge::write("a \"b\"", "n1", algorithm, stale);
                let read = Challenge::parse(&written).unwrap();
                let expected = Challenge {
                    realm: "a \"b\"".into(),
                    nonce: "n1".into(),
                    opaque: None,
                    algorithm,
                    quality: Quality::Auth,
                    stale,
                };
                assert_eq!(read, expected, "{written}");
            }
        }
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        let rows = [
            ("Digest realm=\"a\", nonce=\"n\"", Some((Algorithm::Md5, Quality::Bare))),
            ("digest  realm=a ,nonce=n , qop=\"auth-int,auth\"", Some((Algorithm::Md5, Quality::Auth))),
            ("Digest realm=a,nonce=n,qop=\"auth-int\"", Some((Algorithm::Md5, Quality::AuthInt))),
            ("Digest realm=a,nonce=n,algorithm=sha-256,,", Some((Algorithm::Sha256, Quality::Bare))),
            ("Digest realm=a,nonce=n,algorithm=SHA-256-sess", None),
            ("Digest realm=a,nonce=n,qop=\"token\"", None),
            ("Digest realm=a,nonce=n,realm=b", None),
            ("Digest realm=a,nonce=\"\"", None),
            ("Digest nonce=n", None),
            ("Digest realm=a;nonce=n", None),
            ("Digest realm=\"a,nonce=n", None),
            ("Basic realm=a,nonce=n", None),
            ("Digest", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let read = Challenge::parse(text).map(|challenge| (challenge.algorithm, challenge.quality));
            assert_eq!(read, expected, "{text}");
        }
        let long = format!("Digest realm=a,nonce={}", "n".repeat(LONGEST_WORD + 1));
        assert_eq!(Challenge::parse(&long), None);
    }

    #[test]
    fn a_count_has_eight_digits_and_begins_at_one() {
        let with = |nc: &str| {
            let text = format!("Digest username=a,realm=b,nonce=c,uri=\"sip:d\",response=e,qop=auth,nc={nc},cnonce=f");
            Credentials::parse(&text).and_then(|credentials| credentials.count())
        };
        assert_eq!(with("0000000a"), Some(10));
        for bad in ["00000000", "1", "0000000001", "0000000g", "+0000001"] {
            assert_eq!(with(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(value in "(Digest )?[ -~]{0,200}") {
            let _ = Challenge::parse(&value);
            let _ = Credentials::parse(&value);
        }

        #[test]
        fn credentials_are_read_as_they_were_written(
            username in "[ -~]{0,20}", realm in "[ -~]{0,20}", nonce in "[ -~]{0,20}", cnonce in "[ -~]{1,20}",
        ) {
            let credentials = Credentials {
                username, realm, nonce, uri: "sip:a@b;c=\"d\"".into(), response: "ab".into(), algorithm: Algorithm::Sha256,
                quality: Quality::Auth, nc: "00000001".into(), cnonce,
            };
            prop_assert_eq!(Credentials::parse(&credentials.write(Some("o\\"))), Some(credentials));
        }
    }
}
