//! Who calls: who is believed, who is signed for, and who does not want to be named.

use crate::world::{DIRECT, PEOPLE, World, apply};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tollbridge::cli::phone::{Ended, Phone};
use tollbridge::clock;
use tollbridge::rating::UsageRecord;
use tollbridge::trunk::StirFiles;

const X5U: &str = "https://certs.example/line.pem";
const FROM: &str = "+390611111111";
const ASSERTED: &str = "+390622222222";

/// The world's own carrier, with these settings.
async fn set(world: &World, settings: &str) {
    let (route, source) = (world.carrier.local(), world.carrier.local().ip());
    let text = format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\n{settings}");
    apply(world.node.store(), &text).await;
}

async fn call(world: &World, from: &str, headers: &[(&str, &str)]) -> Result<Phone, Ended> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    world.carrier.place_with(from, DIRECT, headers).await?.answered().await
}

/// The record of one call, over.
async fn record_of(world: &World, phone: Phone) -> UsageRecord {
    world.inside("open", 1).await;
    phone.hang_up();
    world.records().await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_is_believed_where_its_settings_say_so_and_the_withheld_stay_withheld() {
    let world = World::start().await;
    let asserted = format!("<sip:{ASSERTED}@127.0.0.10>");
    let headers = [("P-Asserted-Identity", asserted.as_str()), ("Diversion", "<sip:+390633333333@x>;reason=no-answer")];
    let known = |record: &UsageRecord| {
        let identity = record.beyond.identity.clone().unwrap();
        (record.caller.map(|caller| caller.to_string()), identity.whence, identity.withheld, identity.diversions)
    };
    let phone = call(&world, FROM, &headers).await.unwrap();
    let record = record_of(&world, phone).await;
    assert_eq!(known(&record), (Some(FROM.to_owned()), "from".to_owned(), false, 0), "anybody can write a header");
    set(&world, "trusted_identity = true\n").await;
    // The switchboard hears of new settings a moment after.
    let mut last = record;
    for _ in 0..10 {
        let phone = call(&world, FROM, &headers).await.unwrap();
        last = record_of(&world, phone).await;
        if last.caller != FROM.parse().ok() {
            break;
        }
    }
    assert_eq!(known(&last), (Some(ASSERTED.to_owned()), "asserted".to_owned(), false, 1));
    // Withheld, whatever the carrier knows: on the screen, in the record and in the export.
    let phone = call(&world, FROM, &[headers[0], ("Privacy", "id")]).await.unwrap();
    world.inside("open", 1).await;
    let leg = world.legs().await.pop().unwrap();
    assert_eq!((leg.caller, leg.withheld), (None, true));
    let record = record_of(&world, phone).await;
    assert_eq!(known(&record), (None, "asserted".to_owned(), true, 0));
    assert!(record.csv_row("").contains(",withheld,"), "{}", record.csv_row(""));
    assert!(!record.to_line().contains(ASSERTED), "nothing keeps what is withheld");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_helped_here() {
    let world = World::start().await;
    for help in ["112", "+911", "sos"] {
        let ended = world.carrier.call(FROM, help).await.err().unwrap();
        assert_eq!(ended.status, 403, "{help}");
    }
    assert_eq!(world.carrier.call(FROM, "+390600000001").await.err().unwrap().status, 404);
    world.end().await;
}

struct Signer(EcdsaKeyPair);

impl Signer {
    /// Its certificate and its authority's lie in the folder.
    fn new(folder: &Path) -> (Signer, StirFiles) {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = rcgen::KeyPair::generate().unwrap();
        let root = params.self_signed(&root_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, root_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut own = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // Its provider's code (RFC 8226 section 9).
        let list = b"\x30\x08\xa0\x06\x16\x04709J".to_vec();
        own.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], list)];
        let own = own.signed_by(&key, &issuer).unwrap().pem();
        let (authorities, certificate) = (folder.join("roots.pem"), folder.join("line.pem"));
        std::fs::write(&authorities, root).unwrap();
        std::fs::write(&certificate, own).unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
        (
            Signer(key),
            StirFiles {
                authorities,
                certificates: BTreeMap::from([(X5U.to_owned(), certificate)]),
                revocations: Vec::new(),
            },
        )
    }

    fn identity(&self, caller: &str, called: &str) -> String {
        let said = json!({ "attest": "A", "origid": "1" });
        self.sign("shaken", caller, called, said)
    }

    /// By whoever is called at `from`, and sends the call on.
    fn sends_on(&self, caller: &str, from: &str, to: &str) -> String {
        self.sign("div", caller, to, json!({ "div": { "tn": from.trim_start_matches('+') } }))
    }

    fn sign(&self, ppt: &str, caller: &str, called: &str, mut claims: serde_json::Value) -> String {
        let head = json!({ "alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": X5U });
        claims["orig"] = json!({ "tn": caller.trim_start_matches('+') });
        claims["dest"] = json!({ "tn": [called.trim_start_matches('+')] });
        claims["iat"] = json!(clock::wall().seconds());
        let signed = format!("{}.{}", base64url(head.to_string()), base64url(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{};info=<{X5U}>;alg=ES256;ppt={ppt}", base64url(signature))
    }
}

fn base64url(octets: impl AsRef<[u8]>) -> String {
    const SIX: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in octets.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|n| text.push(char::from(SIX[(bits >> (18 - 6 * n)) as usize & 63])));
    }
    text
}

/// The carrier's calls are refused from now on where nobody signs for them.
async fn require(world: &World, settings: &str) {
    set(world, &format!("stir = \"require\"\n{settings}")).await;
    for _ in 0..10 {
        match call(world, FROM, &[]).await {
            Ok(phone) => drop(record_of(world, phone).await),
            Err(ended) => return assert_eq!(ended.status, 428, "a call without a signature"),
        }
    }
    panic!("calls without a signature are let in");
}

/// What the record says of a call with this Identity header, or the code that refuses it.
async fn signed(world: &World, identity: &str) -> Result<String, u16> {
    let phone = call(world, FROM, &[("Identity", identity)]).await.map_err(|ended| ended.status)?;
    Ok(record_of(world, phone).await.beyond.identity.unwrap().attestation.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_signs_for_one_call_however_often_that_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, files) = Signer::new(folder.path());
    let world = World::with(PEOPLE, |settings| settings.sip.stir = Some(files)).await;
    let (first, second) = (signer.identity(FROM, DIRECT), signer.identity(FROM, DIRECT));
    assert_eq!(signed(&world, &first).await, Ok("A".to_owned()));
    assert_eq!(signed(&world, &first).await, Ok("replayed".to_owned()), "recorded alone");
    require(&world, "max_calls = 1\n").await;
    assert_eq!(signed(&world, &first).await, Err(438));
    // No room for it now; it comes again, under another Call-ID.
    let other = call(&world, FROM, &[("Identity", &signer.identity(FROM, DIRECT))]).await.unwrap();
    assert_eq!(signed(&world, &second).await, Err(503));
    record_of(&world, other).await;
    assert_eq!(signed(&world, &second).await, Ok("A".to_owned()));
    assert_eq!(signed(&world, &second).await, Err(438));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_signers_are_read_anew_when_they_change() {
    let (folder, newer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (signer, files) = Signer::new(folder.path());
    let world = World::with(PEOPLE, |settings| settings.sip.stir = Some(files.clone())).await;
    let (successor, successors) = Signer::new(newer.path());
    assert_eq!(signed(&world, &successor.identity(FROM, DIRECT)).await, Ok("forged".to_owned()));
    // What cannot be read is told of, and the old goes on.
    let certificate = &files.certificates[X5U];
    std::fs::write(certificate, "nonsense").unwrap();
    assert_eq!(signed(&world, &signer.identity(FROM, DIRECT)).await, Ok("A".to_owned()));
    std::fs::copy(&successors.authorities, &files.authorities).unwrap();
    std::fs::copy(&successors.certificates[X5U], certificate).unwrap();
    let is_read = async || signed(&world, &successor.identity(FROM, DIRECT)).await == Ok("A".to_owned());
    let all = async { while !is_read().await {} };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("the certificates are read anew");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_signed_for_is_recorded_so_and_a_policy_refuses_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, files) = Signer::new(folder.path());
    let world = World::with(PEOPLE, |settings| settings.sip.stir = Some(files)).await;
    let good = || signer.identity(FROM, DIRECT);
    let forged = signer.identity(ASSERTED, DIRECT);
    // Recorded alone, as long as nothing is said.
    for (identity, word) in [(Some(good()), "A"), (Some(forged.clone()), "mismatch"), (None, "missing")] {
        let headers: Vec<(&str, &str)> = identity.iter().map(|identity| ("Identity", identity.as_str())).collect();
        let phone = call(&world, FROM, &headers).await.unwrap();
        let record = record_of(&world, phone).await;
        assert_eq!(record.beyond.identity.unwrap().attestation.as_deref(), Some(word));
    }
    require(&world, "").await;
    // A call to somebody else, who sends it on to us.
    let away = signer.identity(FROM, ASSERTED);
    assert_eq!(signed(&world, &away).await, Err(438));
    let sent_on = signer.sends_on(FROM, ASSERTED, DIRECT);
    let phone = call(&world, FROM, &[("Identity", &away), ("Identity", &sent_on)]).await.unwrap();
    let found = record_of(&world, phone).await.beyond.identity.unwrap();
    assert_eq!((found.attestation.as_deref(), found.provider.as_deref()), (Some("A"), Some("709J")));
    assert_eq!(signed(&world, &forged).await, Err(438));
    assert_eq!(signed(&world, &good()).await, Ok("A".to_owned()));
    world.end().await;
}
