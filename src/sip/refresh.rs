//! Session timers (RFC 4028): a call that is not refreshed in time is over on both sides, though nobody said BYE.
//!
//! [`Terms`] are pure: what a request or a response agrees to.

use super::auth::MOST_PROOFS;
use super::desk::{Bell, Desk};
use super::endpoint::Endpoint;
use super::gate::Objection;
use super::message::{Head, Request, Response};
use super::method::Method;
use super::session::{Session, Stage};
use super::transaction::{Made, Owner};
use super::{Call, Event, Reason};
use rand::RngExt;
use std::fmt;
use std::time::Duration;

/// No session is shorter (RFC 4028 section 4).
pub(in crate::sip) const LEAST_S: u32 = 90;
/// A refresh that met a change, or an error that may pass, is made again after so long.
const AGAIN: Duration = Duration::from_secs(2);

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Terms {
    pub interval_s: u32,
    /// We refresh; else they do.
    pub ours: bool,
}

/// The session timer of a call.
#[derive(Debug)]
pub(in crate::sip) struct SessionTimer {
    /// Within which time the call is to be refreshed, and by whom.
    pub terms: Option<Terms>,
    /// The longest that anybody said is the least.
    least_s: u32,
    /// How often that has made the refresh longer that is out.
    raised: u8,
}

impl Default for SessionTimer {
    fn default() -> SessionTimer {
        SessionTimer { terms: None, least_s: LEAST_S, raised: 0 }
    }
}

impl SessionTimer {
    /// RFC 4028 section 7.4: of all that were heard in the dialog the longest counts.
    pub fn hear_least(&mut self, least_s: u32) {
        self.least_s = self.least_s.max(least_s);
    }

    /// Terms as long as somebody wants them, where that is longer than they are.
    fn lengthen(&mut self, least_s: u32) -> Option<Terms> {
        let terms = self.terms.as_mut().filter(|terms| least_s > terms.interval_s)?;
        terms.interval_s = least_s;
        self.least_s = self.least_s.max(least_s);
        self.terms
    }

    /// The same for a refresh. Whoever always wants more is asked again after a while, and the session ends when it should have.
    fn raise(&mut self, least_s: u32) -> Option<Terms> {
        let longer = if self.raised < MOST_PROOFS { self.lengthen(least_s) } else { None };
        self.raised += u8::from(longer.is_some());
        longer
    }

    /// Into a request of ours within the call.
    pub fn onto_request(&self, request: &mut Request) {
        if let Some(terms) = self.terms {
            terms.onto_request(self.least_s, request);
        }
    }
}

/// Who refreshes, as one request or response has it: `uac` is whoever sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

/// `Session-Expires`; `Err` where it cannot be read.
fn read(head: &Head) -> Result<Option<(u32, Option<Refresher>)>, ()> {
    let Some(value) = head.header("Session-Expires") else { return Ok(None) };
    let mut pieces = value.split(';').map(str::trim);
    let interval_s = pieces.next().and_then(seconds).ok_or(())?;
    let named = pieces
        .find_map(|piece| piece.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("refresher")));
    let refresher = match named.map(|(_, who)| who.trim().to_ascii_lowercase()).as_deref() {
        Some("uac") => Some(Refresher::Uac),
        Some("uas") => Some(Refresher::Uas),
        _ => None,
    };
    Ok(Some((interval_s, refresher)))
}

/// `Min-SE`, its parameters left out.
pub(in crate::sip) fn least_s(head: &Head) -> Option<u32> {
    seconds(head.header("Min-SE")?.split(';').next()?.trim())
}

fn seconds(text: &str) -> Option<u32> {
    Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok())
}

/// Whoever requires it knows it.
fn knows_timer(request: &Request) -> bool {
    ["Supported", "Require"].iter().any(|name| request.lists(name, "timer"))
}

impl Terms {
    /// What we say to a request (RFC 4028 section 9). `wish_s`: our own interval, 0 for none. They refresh wherever they
    /// can: it is they who know their way through what stands between us.
    pub fn of_request(request: &Request, wish_s: u32) -> Result<Option<Terms>, Objection> {
        let able = knows_timer(request);
        let asked = read(request).map_err(|()| Objection::new(400).because("Bad Session-Expires"))?;
        let least_s = least_s(request).unwrap_or(0).max(LEAST_S);
        let interval_s = match asked {
            Some((asked_s, _)) if asked_s < LEAST_S && able => {
                return Err(Objection::new(422).with("Min-SE", LEAST_S.to_string()));
            }
            // Never longer than they asked for, never shorter than any hop bears.
            Some((asked_s, _)) if wish_s > 0 => asked_s.min(wish_s).max(least_s),
            Some((asked_s, _)) => asked_s.max(LEAST_S),
            None if wish_s == 0 => return Ok(None),
            None => wish_s.max(least_s),
        };
        let ours = !able || asked.is_some_and(|(_, refresher)| refresher == Some(Refresher::Uas));
        Ok(Some(Terms { interval_s, ours }))
    }

    /// What their 2xx to a request of ours means (RFC 4028 section 7.2): without the header nothing is agreed. Where it
    /// does not say who refreshes, we do: twice is better than never.
    pub fn of_response(response: &Response) -> Option<Terms> {
        let (interval_s, refresher) = read(response).ok()??;
        Some(Terms { interval_s: interval_s.max(LEAST_S), ours: refresher != Some(Refresher::Uas) })
    }

    /// Into our 2xx. Required of whoever is to refresh, and of nobody who does not know the word.
    pub fn onto_response(self, request: &Request, response: &mut Response) {
        let refresher = if self.ours { "uas" } else { "uac" };
        response.push("Session-Expires", &format!("{};refresher={refresher}", self.interval_s));
        if knows_timer(request) {
            response.push("Require", "timer");
        }
    }

    /// Into a request of ours within the call: the roles stay. `least_s`: the longest Min-SE that was ever told in it (RFC 4028
    /// section 7.4).
    fn onto_request(self, least_s: u32, request: &mut Request) {
        request.push("Session-Expires", &self.to_string());
        request.push("Min-SE", &least_s.min(self.interval_s).to_string());
    }

    /// When we refresh, where it is ours (RFC 4028 section 10: half the interval).
    pub fn refresh_after(self) -> Option<Duration> {
        self.ours.then(|| Duration::from_secs(u64::from(self.interval_s) / 2))
    }

    /// When the call is over: a third of the interval or 32 s before its end, whichever is later (RFC 4028 section 10).
    pub fn lapse_after(self) -> Duration {
        Duration::from_secs(u64::from(self.interval_s - (self.interval_s / 3).min(32)))
    }
}

/// As a request of ours says them.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = if self.ours { "uac" } else { "uas" };
        write!(f, "{};refresher={refresher}", self.interval_s)
    }
}

impl Session {
    /// The time runs anew, as a 2xx to a request of ours has it.
    pub fn renew_by(&mut self, desk: &mut Desk, response: &Response) {
        self.timer.raised = 0;
        self.renew(desk, Terms::of_response(response));
    }
}

impl Endpoint {
    /// Says that the call lives: by UPDATE where they take it, since it needs no answer from anybody's sound, else by a
    /// re-INVITE that changes nothing (RFC 4028 section 7.4).
    pub(in crate::sip) fn refresh(&mut self, call: Call) {
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if !matches!(session.stage, Stage::Up { parting: None }) {
            return;
        }
        if session.is_busy() {
            return session.set(&mut self.desk, Bell::Refresh, AGAIN);
        }
        let sent = if session.updates || session.ours.is_empty() {
            session.proofs = 0;
            let update = session.request(Method::Update, &branch, &self.config.product);
            let flow = session.dialog.hop(session.lost, &self.gate);
            self.table.send(&mut self.desk, update, flow, Owner::Refresh(call)).is_some()
        } else {
            let offer = session.ours.clone();
            self.reinvite(call, offer).is_ok()
        };
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if let Some(offering) = &mut session.offering {
            offering.refreshes = true;
        }
        if !sent {
            session.set(&mut self.desk, Bell::Refresh, AGAIN);
        }
    }

    /// Our own offer was refused since the session is too short for somebody: made again with their least (RFC 4028 section 7.3).
    pub(in crate::sip) fn offer_longer(&mut self, call: Call, made: Option<&Made>, response: &Response) -> bool {
        let made = made.filter(|made| *made.request.method() == Method::Invite);
        let Some((least_s, made)) = least_s(response).zip(made) else { return false };
        let may = |session: &&mut Box<Session>| session.offering.is_some() && session.proofs < MOST_PROOFS;
        let Some(session) = self.sessions.get_mut(&call).filter(may) else {
            return false;
        };
        let Some(terms) = session.timer.lengthen(least_s) else { return false };
        session.proofs += 1;
        let again = self.once_more(call, &made.request).map(|mut invite| {
            invite.replace("Session-Expires", &terms.to_string());
            invite.replace("Min-SE", &least_s.to_string());
            invite
        });
        again.is_some_and(|invite| self.send_offer(call, invite))
    }

    pub(in crate::sip) fn is_refreshing(&self, call: Call) -> bool {
        let offering = self.sessions.get(&call).and_then(|session| session.offering);
        offering.is_some_and(|offering| offering.refreshes)
    }

    /// 2xx to our UPDATE.
    pub(in crate::sip) fn refreshed(&mut self, call: Call, response: &Response) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if matches!(session.stage, Stage::Up { .. }) {
            self.desk.counters.refreshed += 1;
            session.retarget(response);
            session.renew_by(&mut self.desk, response);
        }
    }

    /// What a failure to refresh means (RFC 4028 section 7.3, RFC 3261 section 12.2.1.2). `least_s`: their Min-SE.
    pub(in crate::sip) fn refresh_failed(&mut self, call: Call, status: u16, least_s: Option<u32>) {
        // Whoever made the call waits longer, so that the two do not meet again (RFC 3261 section 14.1).
        let glare_ms = if call.is_outbound() { 2_100..4_000 } else { 10..2_000 };
        let glare = Duration::from_millis(self.rng.random_range(glare_ms));
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if !matches!(session.stage, Stage::Up { .. }) {
            return;
        }
        if let Some(offering) = session.offering.take() {
            session.stop(&mut self.desk, Bell::Answer);
            if status == 408 {
                self.table.give_up(&mut self.desk, offering.transaction);
            }
        }
        let longer = least_s.filter(|_| status == 422).and_then(|least_s| session.timer.raise(least_s));
        let again = match status {
            408 | 481 => return self.lapse(call),
            405 | 501 if session.updates => {
                session.updates = false;
                Duration::ZERO
            }
            422 if longer.is_some() => {
                session.renew(&mut self.desk, longer);
                Duration::ZERO
            }
            491 => glare,
            _ => AGAIN,
        };
        session.set(&mut self.desk, Bell::Refresh, again);
    }

    /// Nobody refreshed the session, or they have lost it: BYE (RFC 4028 section 10).
    pub(in crate::sip) fn lapse(&mut self, call: Call) {
        let Some(session) = self.sessions.get(&call) else { return };
        if !matches!(session.stage, Stage::Up { .. }) {
            return;
        }
        self.desk.counters.lapsed += 1;
        session.tell(&mut self.desk, Event::Lapsed { call });
        let text = "the session was not refreshed".to_owned();
        self.part(call, Some(Reason { q850: Some(102), sip: None, text }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Framing, Message};
    use super::*;
    use bytes::Bytes;

    fn request(lines: &str) -> Request {
        let text = format!(
            "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:b@h>\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(&Bytes::from(text), Framing::Datagram).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!(),
        }
    }

    #[test]
    fn what_a_request_agrees_to() {
        const WISH: u32 = 1_800;
        let terms = |interval_s, ours| Ok(Some(Terms { interval_s, ours }));
        let short = || Err(Objection::new(422).with("Min-SE", "90"));
        let bad = || Err(Objection::new(400).because("Bad Session-Expires"));
        let rows = [
            // Their lines, our wish, what is agreed.
            ("", 0, Ok(None)),
            ("", WISH, terms(1_800, true)),
            ("Supported: timer\r\n", WISH, terms(1_800, false)),
            ("k: replaces, Timer\r\n", WISH, terms(1_800, false)),
            ("Supported: timer\r\nSession-Expires: 600\r\n", WISH, terms(600, false)),
            ("Supported: timer\r\nx: 600;refresher=uac\r\n", WISH, terms(600, false)),
            ("Supported: timer\r\nSession-Expires: 600 ; refresher=UAS\r\n", WISH, terms(600, true)),
            ("Supported: timer\r\nSession-Expires: 600;Refresher=uas\r\n", WISH, terms(600, true)),
            ("Supported: timer\r\nSession-Expires: 7200\r\n", WISH, terms(1_800, false)),
            ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", WISH, terms(3_600, false)),
            ("Supported: timer\r\nSession-Expires: 7200\r\n", 0, terms(7_200, false)),
            ("Supported: timer\r\nSession-Expires: 89\r\n", WISH, short()),
            ("Require: timer\r\nSession-Expires: 0\r\n", WISH, short()),
            // A proxy's, for a caller who knows nothing of it: no 422 would help (RFC 4028 section 9).
            ("Session-Expires: 60\r\n", WISH, terms(90, true)),
            ("Session-Expires: 600\r\n", 0, terms(600, true)),
            ("Session-Expires: 4294967296\r\n", WISH, bad()),
            ("Session-Expires: soon\r\n", WISH, bad()),
            ("Session-Expires: +600\r\n", WISH, bad()),
            ("Session-Expires:\r\n", WISH, bad()),
            ("Min-SE: nonsense\r\n", WISH, terms(1_800, true)),
        ];
        for (lines, wish_s, expected) in rows {
            assert_eq!(Terms::of_request(&request(lines), wish_s), expected, "{lines:?} {wish_s}");
        }
    }

    #[test]
    fn what_a_response_agrees_to() {
        let rows = [
            ("", None),
            ("Session-Expires: 600;refresher=uac", Some((600, true))),
            ("Session-Expires: 600;refresher=uas", Some((600, false))),
            ("Session-Expires: 600", Some((600, true))),
            ("Session-Expires: 1;refresher=uas", Some((90, false))),
            ("Session-Expires: never", None),
        ];
        for (line, expected) in rows {
            let mut response = Response::to(&request(""), 200, "");
            if let Some((name, value)) = line.split_once(": ") {
                response.push(name, value);
            }
            let found = Terms::of_response(&response).map(|terms| (terms.interval_s, terms.ours));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn what_is_agreed_comes_back_as_it_was_said() {
        for ours in [true, false] {
            let terms = Terms { interval_s: 600, ours };
            let mut response = Response::to(&request(""), 200, "");
            for knows in ["Supported: timer\r\n", "Require: timer\r\n"] {
                let asked = request(knows);
                response = Response::to(&asked, 200, "");
                terms.onto_response(&asked, &mut response);
                assert_eq!(response.header("Require"), Some("timer"), "{knows}");
            }
            assert_eq!(Terms::of_response(&response), Some(Terms { ours: !ours, ..terms }), "seen from the other side");
            let mut again = request("Supported: timer\r\n");
            terms.onto_request(LEAST_S, &mut again);
            assert_eq!(Terms::of_request(&again, 1_800), Ok(Some(Terms { ours: !ours, ..terms })));
        }
        let mut response = Response::to(&request(""), 200, "");
        Terms { interval_s: 600, ours: true }.onto_response(&request(""), &mut response);
        assert_eq!(response.header("Require"), None, "of one who does not know the word nothing is required");
    }

    #[test]
    fn a_call_lapses_before_its_time_is_over() {
        let rows = [(90, 60), (96, 64), (600, 568), (1_800, 1_768)];
        for (interval_s, lapse_s) in rows {
            let terms = Terms { interval_s, ours: true };
            assert_eq!(terms.lapse_after(), Duration::from_secs(lapse_s));
            assert_eq!(terms.refresh_after(), Some(Duration::from_secs(u64::from(interval_s) / 2)));
            assert_eq!(Terms { ours: false, ..terms }.refresh_after(), None);
        }
    }
}
