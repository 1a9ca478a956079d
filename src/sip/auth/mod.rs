//! Names and passwords (digest, RFC 7616): who must prove to be whom before we listen, and how we prove it to others.
//!
//! Whoever calls is asked for SHA-256, and for MD5 beside it, since many trunks know nothing else. A nonce is ours alone
//! ([`nonce`]): made for one address, good for a while, and each count of it once. A wrong password and an unknown name
//! are one thing, answered alike and in one time; a stranger who tries too often is not heard for a while ([`brake`]).

mod brake;
pub(in crate::sip) mod digest;
mod nonce;

use super::endpoint::Endpoint;
use super::gate::Objection;
use super::message::{Request, Response};
use super::method::Method;
use super::transaction::Made;
use super::uri::Uri;
use super::{Call, Event, Flow, Source};
use brake::{Brake, Wrong};
use digest::{Algorithm, Challenge, Credentials, Quality, answer, presented};
use nonce::{Nonces, Trust};
use rand::{Rng, RngExt};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What we call ourselves in challenges where nobody has said.
pub const USUAL_REALM: &str = "tollbridge";
/// How often one request of ours is made again with credentials: once, and once more where a nonce had grown old.
pub(in crate::sip) const MOST_PROOFS: u8 = 2;

/// A password, wiped when it is dropped. Shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    pub fn new(bytes: Vec<u8>) -> Password {
        Password(Zeroizing::new(bytes))
    }

    pub(in crate::sip) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What two sides know each other by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Whose it is, in our owner's words.
    pub owner: String,
    pub username: String,
    /// `None`: it could not be read, so nobody gets in by it, and nothing is proven with it.
    pub password: Option<Password>,
    /// Of a carrier that is challenged, what we call ourselves ([`USUAL_REALM`] where nothing is said). Of our own requests,
    /// the only realm whose challenges are answered; any but our own, where nothing is said.
    pub realm: Option<String>,
}

impl Login {
    fn own_realm(&self) -> &str {
        self.realm.as_deref().unwrap_or(USUAL_REALM)
    }
}

/// Somebody who must prove to be who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub login: Login,
    /// Where it calls from, as they stand in [`super::Command::Sources`]; empty: from anywhere.
    pub from: Vec<Source>,
    /// OPTIONS too, and not calls alone.
    pub options: bool,
    /// Which sums are asked for and taken. There are callers that give up when the first is one they do not know.
    pub sha256: bool,
    pub md5: bool,
}

/// What the endpoint knows of names and passwords.
#[derive(Debug)]
pub(in crate::sip) struct Auth {
    asked: Vec<Arc<Asked>>,
    nonces: Nonces,
    brake: Brake,
}

impl Auth {
    pub fn new(rng: &mut impl Rng) -> Auth {
        Auth { asked: Vec::new(), nonces: Nonces::new(rng.random()), brake: Brake::default() }
    }

    /// Whoever was barred for what they said of other passwords may say it of these.
    pub fn list(&mut self, asked: Vec<Asked>) {
        let same =
            asked.len() == self.asked.len() && asked.iter().zip(&self.asked).all(|(new, old)| new.login == old.login);
        if !same {
            self.brake.forget();
        }
        self.asked = asked.into_iter().map(Arc::new).collect();
    }

    /// Whether a challenge may be answered with this login: its realm is the one that was set or, where none was, none that we
    /// use ourselves. Else what we ask somebody could come back to us as theirs, and our answer be said to us. For the same
    /// reason nothing is proven over a nonce of ours.
    pub fn is_theirs(&self, login: &Login, challenge: &Challenge) -> bool {
        let is_own =
            |realm: &str| realm == USUAL_REALM || self.asked.iter().any(|asked| asked.login.own_realm() == realm);
        let fits = match &login.realm {
            Some(realm) => *realm == challenge.realm,
            None => !is_own(&challenge.realm),
        };
        fits && !self.nonces.is_ours(&challenge.nonce)
    }

    /// Who has to prove something when a request comes from this source; from none that is listed, all who may call from
    /// anywhere.
    fn asked(&self, source: Option<&Source>, method: &Method) -> Vec<Arc<Asked>> {
        let is_place = |asked: &Asked| match source {
            None => asked.from.is_empty(),
            Some(source) => asked.from.iter().any(|own| own.is_where(source)),
        };
        let wants = |asked: &Asked| asked.options || *method != Method::Options;
        self.asked.iter().filter(|asked| is_place(asked) && wants(asked)).cloned().collect()
    }
}

impl Endpoint {
    /// Who it is that must prove to be somebody with this request; nobody, where its source is enough.
    pub(in crate::sip) fn asked(&self, flow: Flow, method: &Method) -> Vec<Arc<Asked>> {
        self.auth.asked(self.gate.source(flow), method)
    }

    /// Whether a request proves to be of one of these, and of whom; else what it is told.
    pub(in crate::sip) fn prove(
        &mut self,
        flow: Flow,
        request: &Request,
        asked: &[Arc<Asked>],
    ) -> Result<String, Objection> {
        let (peer, listed) = (flow.peer, self.gate.source(flow).is_some());
        let (now, counters) = (self.desk.now, &mut self.desk.counters);
        if self.auth.brake.holds(now, peer.ip()) {
            counters.logins_barred += 1;
            return Err(Objection::new(403));
        }
        let is_ours = |said: &Credentials| asked.iter().any(|asked| asked.login.own_realm() == said.realm);
        let Some(said) = presented(request).find(is_ours) else {
            counters.logins_asked += 1;
            return Err(self.challenge(peer, asked, false));
        };
        let trust = self.auth.nonces.trust(now, peer.ip(), &said.nonce);
        let Trust::Ours(stamp) = trust else {
            // Old, of another address or of another life. Nothing that is said over it is looked at: it would tell whoever
            // made the nonce themselves what fits.
            counters.logins_stale += 1;
            return Err(self.challenge(peer, asked, true));
        };
        if !is_meant(&said.uri, request.uri()) {
            return Err(
                Objection::new(400).because("The uri of the credentials is of another user than the Request-URI")
            );
        }
        let owner = of_whom(&said, request, asked);
        let (Some(owner), Some(count)) = (owner, said.count()) else {
            counters.logins_wrong += 1;
            // Where we cannot read the password, whoever says it is not to be blamed.
            let is_known = asked.iter().all(|asked| asked.login.password.is_some());
            if !is_known {
                return Err(self.challenge(peer, asked, false));
            }
            let Wrong { barred, news } = self.auth.brake.wrong(now, peer.ip(), listed);
            if news {
                self.desk.tell(Event::Guessed { peer, listed, tries: brake::MOST_WRONG });
            }
            return Err(if barred { Objection::new(403) } else { self.challenge(peer, asked, false) });
        };
        if !self.auth.nonces.take(now, stamp, count) {
            counters.logins_replayed += 1;
            return Err(self.challenge(peer, asked, true));
        }
        counters.logins_right += 1;
        Ok(owner)
    }

    /// 401, the strongest first (RFC 8760 section 2.3); one realm, that of the first who may be meant.
    fn challenge(&mut self, peer: SocketAddr, asked: &[Arc<Asked>], stale: bool) -> Objection {
        let realm = asked.first().map_or(USUAL_REALM, |asked| asked.login.own_realm());
        let nonce = self.auth.nonces.issue(self.desk.now, self.rng.random(), peer.ip());
        let strong = asked.iter().any(|asked| asked.sha256).then_some(Algorithm::Sha256);
        let weak = asked.iter().any(|asked| asked.md5).then_some(Algorithm::Md5);
        strong.into_iter().chain(weak).fold(Objection::new(401), |objection, algorithm| {
            objection.with("WWW-Authenticate", Challenge::write(realm, &nonce, algorithm, stale))
        })
    }

    /// The header with which a request of ours in this call is made again after a 401 or 407; `None`: it is not. Only the
    /// carrier of the call is told anything that a password went into.
    pub(in crate::sip) fn proof(
        &mut self,
        call: Call,
        made: &Made,
        response: &Response,
    ) -> Option<(&'static str, String)> {
        let request = &made.request;
        let session = self.sessions.get(&call)?;
        // By datagram a request within a call goes where its far side said: to any carrier, which may know the realm.
        let may = session.proofs < MOST_PROOFS && self.is_theirs(session, made.flow);
        let login = session.login.clone().filter(|_| may)?;
        let cnonce = format!("{:016x}", self.rng.random::<u64>());
        let proof = answer(&login, request, response, &cnonce, |challenge| self.auth.is_theirs(&login, challenge))?;
        self.sessions.get_mut(&call)?.proofs += 1;
        self.desk.counters.proofs += 1;
        Some(proof)
    }
}

/// Whether credentials are of a request to this address. What stands between may have written another host, and parameters, since
/// they were worked out (RFC 3261 section 22.4); but not whom the call is for, which is what a proof must not be moved from. That
/// it is said once is the nonce's part.
fn is_meant(said: &str, asked: &Uri) -> bool {
    let is_same = |said: Uri| said.user_unescaped() == asked.user_unescaped();
    said == asked.as_str() || Uri::parse(said).is_ok_and(is_same)
}

/// Whose password fits. Where there is no such name, another password is tried all the same, so that both take one time.
fn of_whom(said: &Credentials, request: &Request, asked: &[Arc<Asked>]) -> Option<String> {
    let named = asked.iter().find(|asked| {
        asked.login.username == said.username && asked.login.own_realm() == said.realm && asked.login.password.is_some()
    });
    let nobody = Password::new(b"0123456789abcdef".to_vec());
    let password = named.and_then(|asked| asked.login.password.as_ref()).unwrap_or(&nobody);
    let expected = said.sum(password.bytes(), request.method().as_str(), request.body());
    let fits = same(expected.as_bytes(), said.response.to_ascii_lowercase().as_bytes());
    let taken = said.quality == Quality::Auth
        && !said.cnonce.is_empty()
        && named.is_some_and(|asked| if said.algorithm == Algorithm::Md5 { asked.md5 } else { asked.sha256 });
    named.filter(|_| fits && taken).map(|asked| asked.login.owner.clone())
}

/// In a time that says nothing of where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}

/// Credentials that an INVITE had, for its ACK (RFC 3261 section 22.1).
pub(in crate::sip) fn carry_over(invite: &Request, ack: &mut Request) {
    for name in ["Authorization", "Proxy-Authorization"] {
        for value in invite.header_all(name) {
            ack.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Framing;
    use crate::sip::message::Message;
    use bytes::Bytes;
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    /// The sums are all the work that there is, so one that is left out shows as a factor. By turns, and of many the median:
    /// whatever else the machine does meets both alike.
    #[test]
    fn a_known_and_an_unknown_name_take_one_time() {
        const SAMPLES: usize = 10_000;
        let password = Password::new(b"open sesame".to_vec());
        let login = Login { owner: "acme".into(), username: "ali".into(), password: Some(password), realm: None };
        let asked = [Arc::new(Asked { login, from: Vec::new(), options: false, sha256: true, md5: true })];
        let text = "INVITE sip:room@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\nMax-Forwards: 70\n\
             From: <sip:a@192.0.2.2>;tag=1\nTo: <sip:room@192.0.2.1>\nCall-ID: 1\nCSeq: 1 INVITE\n\n";
        let text = Bytes::from(text.replace('\n', "\r\n"));
        let Ok(Message::Request(request)) = Message::parse(&text, Framing::Datagram) else { panic!("it is one") };
        for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
            let said = ["ali", "abd"].map(|username| Credentials {
                username: username.to_owned(),
                realm: USUAL_REALM.to_owned(),
                nonce: "0123456789abcdef0123456789abcdef".to_owned(),
                uri: "sip:room@192.0.2.1".to_owned(),
                response: "0".repeat(if algorithm == Algorithm::Md5 { 32 } else { 64 }),
                algorithm,
                quality: Quality::Auth,
                nc: "00000001".to_owned(),
                cnonce: "c1".to_owned(),
            });
            let mut times = [Vec::new(), Vec::new()];
            for sample in 0..2 * SAMPLES {
                let began = Instant::now();
                assert_eq!(of_whom(black_box(&said[sample % 2]), black_box(&request), &asked), None);
                times[sample % 2].push(began.elapsed());
            }
            let [known, unknown] = times.map(|mut times| {
                times.sort_unstable();
                times[SAMPLES / 2]
            });
            let [less, more] = [known.min(unknown), known.max(unknown)];
            assert!(more < less * 5 / 4 + Duration::from_nanos(200), "{known:?}, {unknown:?}");
        }
    }
}
