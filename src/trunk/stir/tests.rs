use super::numbers::tests::{code, listing, one, range};
use super::passport::{der, from_base64url};
use super::*;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

const X5U: &str = "https://certs.example/acme.pem";
const NOW_S: i64 = 1_800_000_000;
const CALLER: &str = "+12155551212";
const CALLED: &str = "+12125551213";

fn now() -> Wall {
    Wall::from_seconds(NOW_S)
}

fn base64url(octets: &[u8]) -> String {
    const SIX: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|n| text.push(char::from(SIX[(bits >> (18 - 6 * n)) as usize & 63])));
    }
    text
}

/// Somebody who signs, and what lies here of them.
struct Signer {
    key: EcdsaKeyPair,
    chain: Vec<CertificateDer<'static>>,
    authority: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Signer {
    fn new() -> Signer {
        Signer::valid((2020, 2060))
    }

    fn valid((from, to): (i32, i32)) -> Signer {
        let mut own = rcgen::CertificateParams::new(vec!["acme.example".to_owned()]).unwrap();
        (own.not_before, own.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        Signer::with(own)
    }

    /// One whose certificate is like this.
    fn with(own: rcgen::CertificateParams) -> Signer {
        Signer::of("Some", own)
    }

    fn of(authority: &str, own: rcgen::CertificateParams) -> Signer {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, authority);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&root_key).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(params, root_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
        Signer { key, chain: vec![own.der().clone()], authority, issuer }
    }

    fn trust(&self) -> Trust {
        Trust::new(std::slice::from_ref(&self.authority), HashMap::from([(X5U.to_owned(), self.chain.clone())]))
            .unwrap()
    }

    /// A list of its authority: this one was revoked, and the next list is there at the beginning of that year.
    fn list(&self, revoked: u64, next: i32) -> rcgen::CertificateRevocationList {
        let revoked = rcgen::RevokedCertParams {
            serial_number: revoked.into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(next, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }

    fn token(&self, head: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature.as_ref()))
    }

    fn identity(&self, head: &Value, claims: &Value) -> String {
        let ppt = head["ppt"].as_str().unwrap_or("shaken");
        format!("{};info=<{X5U}>;alg=ES256;ppt={ppt}", self.token(head, claims))
    }
}

fn head() -> Value {
    json!({ "alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U })
}

fn claims() -> Value {
    json!({
        "attest": "A", "dest": { "tn": ["12125551213"] }, "iat": NOW_S, "orig": { "tn": "12155551212" },
        "origid": "123e4567-e89b-12d3-a456-426655440000",
    })
}

fn with(mut value: Value, key: &str, other: Value) -> Value {
    value[key] = other;
    value
}

fn verified(trust: &Trust, identities: &[&str]) -> Result<Attestation, Flaw> {
    let signed = trust.clone().as_of(now()).verify(
        identities.iter().copied(),
        CALLER.parse().ok(),
        &[CALLED.parse().unwrap()],
        now(),
    );
    signed.map(|signed| signed.attestation)
}

#[test]
fn what_is_signed_for_is_attested_and_each_flaw_has_its_name() {
    let signer = Signer::new();
    let trust = signer.trust();
    let rows = [
        (head(), claims(), Ok(Attestation::Full)),
        (head(), with(claims(), "attest", json!("B")), Ok(Attestation::Partial)),
        (head(), with(claims(), "attest", json!("C")), Ok(Attestation::Gateway)),
        (head(), with(claims(), "orig", json!({ "tn": "+12155551212" })), Ok(Attestation::Full)),
        (head(), with(claims(), "dest", json!({ "tn": ["19999999999", "12125551213"] })), Ok(Attestation::Full)),
        (head(), with(claims(), "iat", json!(NOW_S - 60)), Ok(Attestation::Full)),
        (head(), with(claims(), "iat", json!(NOW_S + 60)), Ok(Attestation::Full)),
        (head(), with(claims(), "iat", json!(NOW_S - 61)), Err(Flaw::Stale)),
        (head(), with(claims(), "iat", json!(NOW_S + 61)), Err(Flaw::Stale)),
        (head(), with(claims(), "iat", json!(i64::MIN)), Err(Flaw::Stale)),
        (head(), with(claims(), "iat", json!("now")), Err(Flaw::Malformed)),
        (head(), with(claims(), "attest", json!("D")), Err(Flaw::Malformed)),
        (head(), with(claims(), "orig", json!({ "tn": "12155551219" })), Err(Flaw::Mismatch)),
        (head(), with(claims(), "orig", json!({ "uri": "sip:a@b" })), Err(Flaw::Malformed)),
        (head(), with(claims(), "dest", json!({ "tn": ["12125551219"] })), Err(Flaw::Mismatch)),
        (head(), with(claims(), "dest", json!({ "tn": [] })), Err(Flaw::Mismatch)),
        (with(head(), "alg", json!("none")), claims(), Err(Flaw::Malformed)),
        (with(head(), "alg", json!("HS256")), claims(), Err(Flaw::Malformed)),
        (with(head(), "typ", json!("JWT")), claims(), Err(Flaw::Malformed)),
        (with(head(), "typ", Value::Null), claims(), Err(Flaw::Malformed)),
        (with(head(), "x5u", Value::Null), claims(), Err(Flaw::Malformed)),
        (head(), with(claims(), "origid", Value::Null), Err(Flaw::Malformed)),
        (with(head(), "ppt", json!("rph")), claims(), Err(Flaw::Missing)),
        (with(head(), "ppt", json!("div-o")), claims(), Err(Flaw::Missing)),
        (with(head(), "ppt", json!("div")), claims(), Err(Flaw::Malformed)),
        (with(head(), "ppt", Value::Null), claims(), Err(Flaw::Missing)),
    ];
    for (head, claims, expected) in rows {
        assert_eq!(verified(&trust, &[&signer.identity(&head, &claims)]), expected, "{head} {claims}");
    }
}

#[test]
fn only_certificates_that_lie_here_and_lead_to_an_authority_sign_for_anything() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let good = signer.identity(&head(), &claims());
    assert_eq!(verified(&signer.trust(), &[&good]), Ok(Attestation::Full));
    // Signed by another key, under the name of the certificate that lies here.
    let forged = stranger.identity(&head(), &claims());
    assert_eq!(verified(&signer.trust(), &[&forged]), Err(Flaw::Forged));
    // Theirs lies here too, but nobody said that their authority counts.
    let known = HashMap::from([(X5U.to_owned(), stranger.chain.clone())]);
    let trust = Trust::new(std::slice::from_ref(&signer.authority), known).unwrap();
    assert_eq!(verified(&trust, &[&forged]), Err(Flaw::Untrusted));
    let elsewhere = with(head(), "x5u", json!("https://certs.example/other.pem"));
    let bare = signer.token(&elsewhere, &claims());
    assert_eq!(verified(&signer.trust(), &[&bare]), Err(Flaw::UnknownCertificate));
    // What stands beside the token must say the same.
    assert_eq!(verified(&signer.trust(), &[&format!("{bare};info=<{X5U}>")]), Err(Flaw::Malformed));
    assert_eq!(
        verified(&signer.trust(), &[&format!("{good};x=1").replace("alg=ES256", "alg=RS256")]),
        Err(Flaw::Malformed)
    );
    for years in [(2020, 2021), (2050, 2060)] {
        let signer = Signer::valid(years);
        let identity = signer.identity(&head(), &claims());
        assert_eq!(verified(&signer.trust(), &[&identity]), Err(Flaw::Untrusted), "{years:?}");
    }
    assert_eq!(verified(&Trust::default(), &[&good]), Err(Flaw::UnknownCertificate));
    assert!(Trust::new(&[CertificateDer::from(vec![1, 2, 3])], HashMap::new()).is_err());
}

#[test]
fn a_certificate_that_ends_signs_for_nothing_once_that_is_found() {
    let signer = Signer::valid((2020, 2027));
    let end_s = 1_798_761_600;
    // When it was found what counts, and the moment of a call: what becomes of that, and whether it is to be found anew.
    let at = |found_s: i64, moment_s: i64| {
        let trust = signer.trust().as_of(Wall::from_seconds(found_s));
        let (identity, now) =
            (signer.identity(&head(), &with(claims(), "iat", json!(moment_s))), Wall::from_seconds(moment_s));
        let (caller, called) = (CALLER.parse().ok(), [CALLED.parse().unwrap()]);
        let signed = trust.verify([identity.as_str()], caller, &called, now);
        (signed.map(|signed| signed.attestation), trust.is_old(now))
    };
    assert_eq!(at(end_s - 1, end_s + 58), (Ok(Attestation::Full), false), "as it was found");
    assert_eq!(at(end_s - 1, end_s + 59), (Ok(Attestation::Full), true));
    assert_eq!(at(end_s + 59, end_s + 59), (Err(Flaw::Untrusted), false));
    // A clock that is set back.
    assert_eq!(at(end_s + 59, end_s - 1), (Err(Flaw::Untrusted), true));
    assert_eq!(at(end_s - 1, end_s - 1), (Ok(Attestation::Full), false));
}

#[test]
fn one_good_signature_among_several_is_enough_and_only_so_many_are_looked_at() {
    let signer = Signer::new();
    let trust = signer.trust();
    let good = signer.identity(&head(), &claims());
    let other = signer.identity(&with(head(), "ppt", json!("rph")), &claims());
    assert_eq!(verified(&trust, &[]), Err(Flaw::Missing));
    assert_eq!(verified(&trust, &[&other]), Err(Flaw::Missing));
    assert_eq!(verified(&trust, &["x", &other, &good]), Ok(Attestation::Full));
    let others = [other.as_str(); MOST_IDENTITIES];
    assert_eq!(verified(&trust, &[&others[1..], &[&good]].concat()), Ok(Attestation::Full));
    assert_eq!(verified(&trust, &[&others[..], &[&good]].concat()), Err(Flaw::Missing));
    let long = format!("{good};pad={}", "x".repeat(LONGEST_IDENTITY));
    assert_eq!(verified(&trust, &[&long]), Err(Flaw::Malformed));
    // A caller who is not known can be no one's.
    assert_eq!(
        trust.clone().as_of(now()).verify([good.as_str()], None, &[CALLED.parse().unwrap()], now()),
        Err(Flaw::Mismatch)
    );
}

/// One that sends a call on, from a number to others, so many seconds ago.
fn sent_on(signer: &Signer, from: &str, to: &[&str], ago_s: i64) -> String {
    let claims = json!({
        "dest": { "tn": to }, "div": { "tn": from }, "iat": NOW_S - ago_s, "orig": { "tn": "12155551212" },
    });
    signer.identity(&with(head(), "ppt", json!("div")), &claims)
}

#[test]
fn a_call_that_was_sent_on_is_signed_for_along_its_whole_way() {
    let signer = Signer::new();
    let trust = signer.trust();
    let (dialled, between, ours) = ("13125550001", "13125550002", "12125551213");
    let called = |number: &str, ago_s: i64| {
        let claims = with(claims(), "dest", json!({ "tn": [number] }));
        signer.identity(&head(), &with(claims, "iat", json!(NOW_S - ago_s)))
    };
    let sent = |from: &str, to: &[&str], ago_s: i64| sent_on(&signer, from, to, ago_s);
    let good = called(dialled, 20);
    let stranger = sent_on(&Signer::new(), dialled, &[ours], 0);
    let of_another = {
        let claims = json!({ "dest": { "tn": [ours] }, "div": { "tn": dialled }, "iat": NOW_S, "orig": { "tn": "1" } });
        signer.identity(&with(head(), "ppt", json!("div")), &claims)
    };
    let rows = [
        ("once", vec![good.clone(), sent(dialled, &[ours], 0)], Ok(Attestation::Full)),
        ("in any order", vec![sent(dialled, &[ours], 0), good.clone()], Ok(Attestation::Full)),
        ("twice", vec![sent(between, &[ours], 0), sent(dialled, &[between], 9), good.clone()], Ok(Attestation::Full)),
        ("to several", vec![good.clone(), sent(dialled, &[between, ours], 0)], Ok(Attestation::Full)),
        (
            "a way that ends beside one that does not",
            vec![sent(between, &[ours], 0), sent(dialled, &[ours], 0), good.clone()],
            Ok(Attestation::Full),
        ),
        ("after long ringing", vec![called(dialled, 200), sent(dialled, &[ours], 20)], Ok(Attestation::Full)),
        ("after ringing for ever", vec![called(dialled, 201), sent(dialled, &[ours], 20)], Err(Flaw::Stale)),
        ("signed for after it was sent on", vec![called(dialled, -60), sent(dialled, &[ours], 1)], Err(Flaw::Stale)),
        ("long ago", vec![called(dialled, 61), sent(dialled, &[ours], 61)], Err(Flaw::Stale)),
        ("nobody signs for sending it on", vec![good.clone()], Err(Flaw::Mismatch)),
        ("a part of the way is missing", vec![good.clone(), sent(between, &[ours], 0)], Err(Flaw::Mismatch)),
        ("to somebody else", vec![good.clone(), sent(dialled, &[between], 0)], Err(Flaw::Mismatch)),
        ("of another caller", vec![good.clone(), of_another], Err(Flaw::Mismatch)),
        ("in a circle", vec![sent(ours, &[between], 0), sent(between, &[ours], 0), good.clone()], Err(Flaw::Mismatch)),
        ("nobody signs for the caller", vec![sent(dialled, &[ours], 0)], Err(Flaw::Missing)),
        ("by a stranger", vec![good.clone(), stranger], Err(Flaw::Forged)),
    ];
    for (what, identities, expected) in rows {
        let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
        assert_eq!(verified(&trust, &identities), expected, "{what}");
    }
}

#[test]
fn a_certificate_signs_for_the_numbers_that_it_lists_and_names_its_provider() {
    let full = |provider: Option<&str>| Ok((Attestation::Full, provider.map(str::to_owned)));
    let rows = [
        (vec![one("12155551212")], full(None)),
        (vec![range("12155551000", &[0x03, 0xe8])], full(None)),
        (vec![code("709J")], full(Some("709J"))),
        (vec![one("12155551213")], Err(Flaw::NotTheirs)),
        (vec![range("12155551213", &[9])], Err(Flaw::NotTheirs)),
    ];
    for (entries, expected) in rows {
        let signer = Signer::with(listing(&entries));
        let (trust, identity) = (signer.trust().as_of(now()), signer.identity(&head(), &claims()));
        let signed = trust.verify([identity.as_str()], CALLER.parse().ok(), &[CALLED.parse().unwrap()], now());
        assert_eq!(signed.map(|signed| (signed.attestation, signed.provider)), expected, "{entries:?}");
    }
    // Whoever sends a call on must have a right to the number that was called, and not to the caller's.
    for (number, expected) in [("13125550001", Ok(Attestation::Full)), ("12155551212", Err(Flaw::NotTheirs))] {
        let (signer, other) = (Signer::new(), Signer::with(listing(&[one(number)])));
        let uri = "https://certs.example/other.pem";
        let known = HashMap::from([(X5U.to_owned(), signer.chain.clone()), (uri.to_owned(), other.chain.clone())]);
        let trust = Trust::new(&[signer.authority.clone(), other.authority.clone()], known).unwrap();
        let shaken = signer.identity(&head(), &with(claims(), "dest", json!({ "tn": ["13125550001"] })));
        let head = with(with(head(), "ppt", json!("div")), "x5u", json!(uri));
        let claims = with(claims(), "div", json!({ "tn": "13125550001" }));
        assert_eq!(verified(&trust, &[&shaken, &other.token(&head, &claims)]), expected, "{number}");
    }
    let unreadable = Signer::with(listing(&[vec![0xa2, 0]]));
    let known = HashMap::from([(X5U.to_owned(), unreadable.chain)]);
    let told = Trust::new(&[unreadable.authority], known).unwrap_err();
    assert!(told.starts_with(&format!("{X5U}: certificate 1: its list of numbers")), "{told}");
}

/// What was revoked, whose list says so, until when that counts. It is 2027.
#[test]
fn a_certificate_that_was_revoked_signs_for_nothing() {
    let numbered = |number: u64| {
        let mut own = rcgen::CertificateParams::new(Vec::new()).unwrap();
        own.serial_number = Some(number.into());
        own
    };
    let (signer, other) = (Signer::of("Some", numbered(7)), Signer::of("Another", numbered(7)));
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str, octets: &[u8]| {
        let path = files.path().join(name);
        std::fs::write(&path, octets).unwrap();
        path
    };
    let pem = |der: &[u8]| {
        let text = base64url(der).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        format!("-----BEGIN CERTIFICATE-----\n{text}{padding}\n-----END CERTIFICATE-----\n").into_bytes()
    };
    let mut stir = StirFiles {
        authorities: at("roots.pem", &pem(&signer.authority)),
        certificates: [(X5U.to_owned(), at("own.pem", &pem(&signer.chain[0])))].into(),
        revocations: Vec::new(),
    };
    let identity = signer.identity(&head(), &claims());
    let rows = [
        (&signer, 8, 2030, Ok(Attestation::Full)),
        (&signer, 7, 2030, Err(Flaw::Revoked)),
        (&signer, 8, 2026, Err(Flaw::Unchecked)),
        (&signer, 7, 2026, Err(Flaw::Unchecked)),
        (&other, 7, 2030, Ok(Attestation::Full)),
        (&other, 7, 2026, Ok(Attestation::Full)),
    ];
    for (authority, revoked, next, expected) in rows {
        let list = authority.list(revoked, next);
        for octets in [list.der().to_vec(), list.pem().unwrap().into_bytes()] {
            stir.revocations = vec![at("list.crl", &octets)];
            assert_eq!(verified(&stir.read(now()).unwrap(), &[&identity]), expected, "{revoked} until {next}");
        }
    }
    let before = stir.bytes().unwrap();
    stir.revocations = vec![at("list.crl", b"nonsense")];
    assert_ne!(stir.bytes().unwrap(), before);
    let told = stir.read(now()).unwrap_err();
    assert!(told.contains("list.crl: "), "{told}");
    stir.revocations = vec![at("list.crl", &vec![0; LARGEST_LIST as usize + 1])];
    let told = stir.read(now()).unwrap_err();
    assert!(told.contains("list.crl: a list of revocations may have 16777216 bytes"), "{told}");
    assert_eq!(stir.bytes().unwrap_err(), told);
    stir.revocations = vec![files.path().join("gone.crl")];
    assert!(stir.bytes().is_err() && stir.read(now()).unwrap_err().contains("gone.crl: "));
}

#[test]
fn policies_and_flaws_read_back() {
    for (word, policy) in StirPolicy::WORDS {
        assert_eq!((policy.to_string().as_str(), word.parse()), (word, Ok(policy)));
    }
    for (flaw, word, status, _) in Flaw::ALL {
        assert_eq!((flaw.word(), flaw.response().0), (word, status));
        let refused = [StirPolicy::Record, StirPolicy::RefuseBroken, StirPolicy::Require].map(|p| p.refuses(flaw));
        assert_eq!(refused, [false, flaw != Flaw::Missing, true]);
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_no_bit_may_be_changed(text in "\\PC{0,80}", at in 0_usize..400, bit in 0_u8..6) {
        let signer = Signer::new();
        let trust = signer.trust();
        prop_assert!(verified(&trust, &[&text]).is_err());
        let whole = signer.token(&head(), &claims());
        let mut changed = whole.clone().into_bytes();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(changed) {
            prop_assert!(verified(&trust, &[&changed]).is_err(), "{} {}", at, bit);
        }
    }

    #[test]
    fn base64url_reads_back(octets in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert_eq!(from_base64url(&base64url(&octets)), Some(octets));
    }

    #[test]
    fn signatures_are_written_as_asn1_has_them(halves in prop::array::uniform32(any::<u8>()), zeros in 0_usize..33) {
        let mut fixed = [halves, halves].concat();
        fixed[..zeros.min(32)].fill(0);
        let whole = der(&fixed.try_into().unwrap());
        prop_assert_eq!(usize::from(whole[1]) + 2, whole.len());
        let first = usize::from(whole[3]);
        prop_assert!(whole[4] & 0x80 == 0 && (first == 1 || whole[4] != 0 || whole[5] & 0x80 != 0));
        prop_assert_eq!(usize::from(whole[5 + first]) + 6 + first, whole.len());
    }
}
