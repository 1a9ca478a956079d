//! An immutable snapshot of carriers and numbers: made anew at each change, shared by whoever asks.

use super::carrier::{CalledFrom, Carrier, Hosts, Sender};
use super::number::{Number, NumberKind};
use crate::clock::Wall;
use crate::types::{CarrierId, Cause, Country, E164, OrganisationId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an INVITE says of the number that was called: user parts, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Called<'a> {
    pub request_user: &'a str,
    pub to_user: &'a str,
    pub diversion_user: Option<&'a str>,
    pub called_party_user: Option<&'a str>,
}

impl<'a> Called<'a> {
    fn from(&self, place: CalledFrom) -> Option<&'a str> {
        match place {
            CalledFrom::RequestUri => Some(self.request_user),
            CalledFrom::To => Some(self.to_user),
            CalledFrom::Diversion => self.diversion_user,
            CalledFrom::PCalledParty => self.called_party_user,
        }
    }
}

/// Who rings, whose number it is, which ways lead out.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    carriers: Vec<Carrier>,
    numbers: Vec<Number>,
    by_e164: HashMap<E164, usize>,
    by_alias: HashMap<String, usize>,
}

impl Directory {
    /// Of two numbers with one form or one alias the first stands: the store does not let two in.
    pub fn new(carriers: Vec<Carrier>, numbers: Vec<Number>) -> Directory {
        let mut by_e164 = HashMap::new();
        let mut by_alias = HashMap::new();
        for (at, number) in numbers.iter().enumerate() {
            by_e164.entry(number.e164).or_insert(at);
            if let Some(alias) = &number.alias {
                by_alias.entry(alias.to_ascii_lowercase()).or_insert(at);
            }
        }
        Directory { carriers, numbers, by_e164, by_alias }
    }

    pub fn carriers(&self) -> &[Carrier] {
        &self.carriers
    }

    pub fn numbers(&self) -> &[Number] {
        &self.numbers
    }

    pub fn carrier(&self, id: &CarrierId) -> Option<&Carrier> {
        self.carriers.iter().find(|carrier| carrier.id == *id)
    }

    /// All sources with their carrier: whom the SIP endpoint may listen to.
    pub fn sources(&self) -> impl Iterator<Item = (&Carrier, &Sender)> {
        self.carriers.iter().flat_map(|carrier| carrier.sources.iter().map(move |source| (carrier, source)))
    }

    /// The carrier that `peer` belongs to: the longest network wins, then a source that names the port.
    /// Of two that fit alike the first in the directory.
    pub fn at(&self, peer: SocketAddr, hosts: &Hosts) -> Option<&Carrier> {
        self.nearest(peer, hosts, |_| true)
    }

    fn nearest(&self, peer: SocketAddr, hosts: &Hosts, may_be: impl Fn(&Carrier) -> bool) -> Option<&Carrier> {
        let best = |carrier: &Carrier| carrier.senders(hosts).iter().filter_map(|source| source.fits(peer)).max();
        let likely = self.carriers.iter().filter(|carrier| may_be(carrier));
        let fits = likely.filter_map(|carrier| best(carrier).map(|fit| (fit, carrier)));
        fits.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, carrier)| carrier)
    }

    /// The carrier that calls from `peer`, by the way it came: by its sources; or it is the only one that we are registered with
    /// there; or it is known by its certificate alone. `shown` as for [`Carrier::came`].
    pub fn identify(&self, peer: SocketAddr, shown: Option<&[Arc<str>]>, hosts: &Hosts) -> Option<&Carrier> {
        let by_name =
            || self.carriers.iter().find(|carrier| shown.is_some() && carrier.calls_by_name() && carrier.came(shown));
        let listed = self.nearest(peer, hosts, |carrier| carrier.came(shown));
        listed.or_else(|| self.only_registrar(peer, shown, hosts)).or_else(by_name)
    }

    fn only_registrar(&self, peer: SocketAddr, shown: Option<&[Arc<str>]>, hosts: &Hosts) -> Option<&Carrier> {
        let mut there = self.carriers.iter().filter(|carrier| carrier.is_registrar(peer, hosts) && carrier.came(shown));
        there.next().filter(|_| there.next().is_none())
    }

    /// Whose call it is: of whoever has proven it, or of the registration that it came by (the registrar's address, and our
    /// own name as the one that is called), or of whoever calls from there. Nobody's, where a carrier that has to prove itself
    /// has not, and nobody's that came by a way that is not its carrier's (`shown` as for [`Carrier::came`]).
    pub fn caller(
        &self,
        peer: SocketAddr,
        shown: Option<&[Arc<str>]>,
        login: Option<&str>,
        request_user: &str,
        hosts: &Hosts,
    ) -> Option<&Carrier> {
        let by_login = |id: &str| self.carriers.iter().find(|carrier| carrier.id.as_str() == id);
        let found = match login {
            Some(id) => by_login(id),
            None => self.registered(peer, shown, request_user, hosts).or_else(|| self.identify(peer, shown, hosts)),
        };
        found.filter(|carrier| login.is_some() || !carrier.is_challenged())
    }

    fn registered(
        &self,
        peer: SocketAddr,
        shown: Option<&[Arc<str>]>,
        request_user: &str,
        hosts: &Hosts,
    ) -> Option<&Carrier> {
        let is_named =
            |carrier: &Carrier| carrier.register.as_ref().is_some_and(|register| register.aor.user() == request_user);
        let is_it = |carrier: &&Carrier| carrier.is_registrar(peer, hosts) && is_named(carrier) && carrier.came(shown);
        self.carriers.iter().find(is_it)
    }

    /// Our number with exactly this form.
    pub fn find(&self, e164: &E164) -> Option<&Number> {
        self.by_e164.get(e164).map(|at| &self.numbers[*at])
    }

    /// Which of our numbers a call of `carrier` is for: the first place of its order that names one of ours.
    pub fn number(&self, carrier: &Carrier, called: &Called<'_>) -> Option<&Number> {
        carrier.called_from.iter().filter_map(|place| called.from(*place)).find_map(|user| self.named(carrier, user))
    }

    fn named(&self, carrier: &Carrier, user: &str) -> Option<&Number> {
        let by_alias = || self.by_alias.get(&user.to_ascii_lowercase()).map(|at| &self.numbers[*at]);
        let number = carrier.number_format_in.read(user).ok();
        number.and_then(|e164| self.find(&e164)).or_else(by_alias)
    }

    /// Carriers that take a call of ours to that number at that moment, in the order of the directory.
    pub fn routes(&self, to: &E164, at: Wall) -> Vec<&Carrier> {
        self.carriers.iter().filter(|carrier| carrier.route.is_some() && carrier.turn.takes(to, at)).collect()
    }

    /// The number that calls out show as theirs: the organisation's own toll number, else a shared one; in each group
    /// one of its country, else the first of the directory. Never a toll-free one.
    pub fn caller_id(&self, organisation: &OrganisationId, country: Country) -> Option<&Number> {
        // The sort is stable: among equals the directory's order stays.
        let mut tolls = self.tolls(organisation);
        tolls.sort_by_key(|number| (number.is_shared(), number.country != country));
        tolls.first().copied()
    }

    /// A toll number for a caller whom a toll-free one refuses: of `country` if there is one.
    pub fn toll_instead(&self, organisation: &OrganisationId, country: Country) -> Option<&Number> {
        let tolls = self.tolls(organisation);
        tolls.iter().find(|number| number.country == country).or(tolls.first()).copied()
    }

    /// A number for a caller whom `called` refuses for `cause`, where another would take them: what a toll-free call needs
    /// (leave, a licence to spend, money) a toll call may not.
    pub fn instead(&self, called: &E164, organisation: &OrganisationId, cause: Cause) -> Option<&Number> {
        let called = self.find(called).filter(|number| number.kind == NumberKind::TollFree)?;
        let helps = matches!(
            cause,
            Cause::TollFreeNotAllowed | Cause::NoCredit | Cause::CreditsNotSetUp | Cause::CreditsLicenceMissing
        );
        self.toll_instead(organisation, called.country).filter(|_| helps)
    }

    /// Toll numbers that callers of the organisation may use, its own before shared ones. A number that leads to one
    /// meeting is no general number.
    fn tolls(&self, organisation: &OrganisationId) -> Vec<&Number> {
        let toll = |number: &&Number| number.kind == NumberKind::Toll && number.meeting.is_none();
        let own = self.numbers.iter().filter(|number| number.organisation.as_ref() == Some(organisation));
        let shared = self.numbers.iter().filter(|number| number.is_shared());
        own.filter(toll).chain(shared.filter(toll)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trunk::{Algorithm, Digest, Register};
    use crate::types::Language;

    fn carrier(id: &str, sources: &[&str]) -> Carrier {
        let mut carrier = Carrier::new(id.parse().unwrap());
        carrier.sources = sources.iter().map(|source| source.parse().unwrap()).collect();
        carrier
    }

    fn number(e164: &str, kind: NumberKind) -> Number {
        Number {
            e164: e164.parse().unwrap(),
            kind,
            country: "IT".parse().unwrap(),
            city: None,
            languages: vec![Language::ENGLISH],
            organisation: None,
            meeting: None,
            alias: None,
        }
    }

    #[test]
    fn a_carrier_is_known_by_its_proof_its_registration_or_its_address() {
        let digest = |challenge: &str| Digest {
            username: "ali".to_owned(),
            password: "env:X".parse().unwrap(),
            realm: None,
            challenge: challenge.parse().unwrap(),
            algorithm: Algorithm::Both,
        };
        let register = |user: &str| Register {
            registrar: "udp:192.0.2.9:5060".parse().unwrap(),
            aor: format!("sip:{user}@example.org").parse().unwrap(),
            expires_s: 60,
        };
        let home = Register { registrar: "udp:192.0.2.10:5060".parse().unwrap(), ..register("home") };
        let shared = |user| Register { registrar: "udp:192.0.2.11:5060".parse().unwrap(), ..register(user) };
        let directory = Directory::new(
            vec![
                Carrier { digest: Some(digest("calls")), ..carrier("proven", &[]) },
                Carrier { digest: Some(digest("calls")), ..carrier("both", &["192.0.2.1"]) },
                Carrier { digest: Some(digest("off")), ..carrier("out", &["192.0.2.2"]) },
                Carrier { register: Some(register("one")), ..carrier("one", &[]) },
                Carrier { register: Some(register("two")), ..carrier("two", &["192.0.2.9"]) },
                Carrier { register: Some(home), ..carrier("home", &[]) },
                Carrier { register: Some(shared("left")), ..carrier("left", &[]) },
                Carrier { register: Some(shared("right")), ..carrier("right", &[]) },
            ],
            vec![],
        );
        let who = |peer: &str, login: Option<&str>, user: &str| {
            directory.caller(peer.parse().unwrap(), None, login, user, &Hosts::new()).map(|c| c.id.to_string())
        };
        let rows = [
            ("198.51.100.1:5060", Some("proven"), "x", Some("proven")),
            ("198.51.100.1:5060", None, "x", None),
            ("192.0.2.1:5060", Some("both"), "x", Some("both")),
            ("192.0.2.1:5060", None, "x", None),
            ("192.0.2.2:5060", None, "x", Some("out")),
            ("192.0.2.9:5060", None, "one", Some("one")),
            ("192.0.2.9:5062", None, "two", Some("two")),
            ("192.0.2.9:5060", None, "x", Some("two")),
            ("192.0.2.8:5060", None, "one", None),
            // The number that was called stands there, and not our name; we are registered there once, or twice.
            ("192.0.2.10:5062", None, "+390612345678", Some("home")),
            ("192.0.2.11:5060", None, "+390612345678", None),
            ("192.0.2.11:5060", None, "right", Some("right")),
            ("192.0.2.2:5060", Some("gone"), "x", None),
        ];
        for (peer, login, user, expected) in rows {
            assert_eq!(who(peer, login, user).as_deref(), expected, "{peer} {login:?} {user}");
        }
    }

    /// As SIP's gate has it: who is let in is whom the call is booked by.
    #[test]
    fn a_carrier_with_a_name_is_known_by_tls() {
        let named = |name: &str, tls_only, sources: &[&str]| {
            let tls_name = Some(format!("{name}.example"));
            Carrier { tls_name, tls_only, ..carrier(name, sources) }
        };
        let directory = Directory::new(
            vec![
                named("strict", true, &["192.0.2.1"]),
                named("lenient", false, &["192.0.2.2"]),
                named("roaming", true, &[]),
                carrier("plain", &["192.0.2.0/24"]),
            ],
            vec![],
        );
        /// Address, what its certificate shows; who it is.
        type Case<'a> = (&'a str, Option<&'a [&'a str]>, Option<&'a str>);
        let rows: [Case; 10] = [
            ("192.0.2.1:5060", None, Some("plain")),
            ("192.0.2.1:5060", Some(&["strict.example"]), Some("strict")),
            ("192.0.2.1:5060", Some(&[]), Some("plain")),
            ("192.0.2.2:5060", None, Some("lenient")),
            ("192.0.2.2:5060", Some(&["lenient.example"]), Some("lenient")),
            ("192.0.2.2:5060", Some(&[]), Some("plain")),
            ("198.51.100.1:5060", None, None),
            ("198.51.100.1:5060", Some(&[]), None),
            ("198.51.100.1:5060", Some(&["strict.example"]), None),
            ("198.51.100.1:5060", Some(&["roaming.example"]), Some("roaming")),
        ];
        for (peer, shown, expected) in rows {
            let names = shown.map(|shown| shown.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>());
            let found = directory.caller(peer.parse().unwrap(), names.as_deref(), None, "x", &Hosts::new());
            assert_eq!(found.map(|carrier| carrier.id.as_str()), expected, "{peer} {shown:?}");
        }
    }

    #[test]
    fn the_longest_network_is_who_rings() {
        let directory = Directory::new(
            vec![
                carrier("wide", &["10.0.0.0/8"]),
                carrier("near", &["10.1.0.0/16", "192.0.2.1:5070"]),
                carrier("host", &["192.0.2.1", "2001:db8::1"]),
                carrier("named", &["sip.carrier.example"]),
            ],
            vec![],
        );
        let hosts: Hosts = [("sip.carrier.example".parse().unwrap(), vec!["10.1.0.9".parse().unwrap()])].into();
        let who = |peer: &str| directory.identify(peer.parse().unwrap(), None, &hosts).map(|c| c.id.to_string());
        let cases = [
            ("10.9.0.1:5060", Some("wide")),
            ("10.1.0.1:5060", Some("near")),
            ("192.0.2.1:5060", Some("host")),
            ("192.0.2.1:5070", Some("near")),
            ("[2001:db8::1]:9", Some("host")),
            ("10.1.0.9:5060", Some("named")),
            ("192.0.2.2:5060", None),
            ("[2001:db8::2]:9", None),
        ];
        for (peer, expected) in cases {
            assert_eq!(who(peer).as_deref(), expected, "{peer}");
        }
    }

    #[test]
    fn the_called_number_is_looked_for_where_the_carrier_writes_it() {
        let mut italian = carrier("it", &[]);
        italian.number_format_in = "national:39".parse().unwrap();
        italian.called_from =
            vec![CalledFrom::PCalledParty, CalledFrom::RequestUri, CalledFrom::To, CalledFrom::Diversion];
        let plain = carrier("plain", &[]);
        let mut named = number("+390687654321", NumberKind::Toll);
        named.alias = Some("Conference".to_owned());
        let directory = Directory::new(vec![], vec![number("+390612345678", NumberKind::Toll), named]);
        let found =
            |carrier: &Carrier, called: Called<'_>| directory.number(carrier, &called).map(|n| n.e164.to_string());
        let request = |request_user| Called { request_user, ..Called::default() };

        assert_eq!(found(&plain, request("+390612345678")).as_deref(), Some("+390612345678"));
        assert_eq!(found(&plain, request("390612345678")).as_deref(), Some("+390612345678"));
        assert_eq!(found(&plain, request("0612345678")), None);
        assert_eq!(found(&italian, request("0612345678")).as_deref(), Some("+390612345678"));
        assert_eq!(found(&plain, request("conference")).as_deref(), Some("+390687654321"));
        assert_eq!(
            found(&plain, Called { to_user: "+390612345678", ..request("trunk-7") }).as_deref(),
            Some("+390612345678")
        );
        let diverted = Called { diversion_user: Some("+390612345678"), to_user: "+442079460000", ..request("x") };
        assert_eq!(found(&plain, diverted).as_deref(), Some("+390612345678"));
        let party = Called { called_party_user: Some("0687654321"), ..request("0612345678") };
        assert_eq!(found(&italian, party).as_deref(), Some("+390687654321"));
        // This carrier's settings do not name P-Called-Party-ID: it is not believed.
        let party = Called { called_party_user: Some("+390687654321"), ..request("+390612345678") };
        assert_eq!(found(&plain, party).as_deref(), Some("+390612345678"));
    }

    #[test]
    fn calls_out_show_a_toll_number_and_own_ones_first() {
        let acme: OrganisationId = "acme".parse().unwrap();
        let other: OrganisationId = "other".parse().unwrap();
        let own = Number { organisation: Some(acme.clone()), ..number("+390600000002", NumberKind::Toll) };
        let meeting = Some("standup".parse().unwrap());
        let straight =
            Number { organisation: Some(acme.clone()), meeting, ..number("+390600000001", NumberKind::Toll) };
        let german = Number { country: "DE".parse().unwrap(), ..number("+49300000000", NumberKind::Toll) };
        let free = number("+39800000000", NumberKind::TollFree);
        let shared = number("+390600000000", NumberKind::Toll);
        let directory = Directory::new(vec![], vec![free, shared, straight, own, german]);
        assert_eq!(directory.caller_id(&acme, Country::US).unwrap().e164.digits(), "390600000002");
        assert_eq!(directory.caller_id(&other, Country::US).unwrap().e164.digits(), "390600000000");
        assert_eq!(directory.caller_id(&other, "DE".parse().unwrap()).unwrap().e164.digits(), "49300000000");
        assert_eq!(directory.toll_instead(&acme, "DE".parse().unwrap()).unwrap().e164.digits(), "49300000000");
        assert_eq!(directory.toll_instead(&acme, Country::US).unwrap().e164.digits(), "390600000002");
    }

    #[test]
    fn a_toll_number_is_named_to_whom_it_helps() {
        let acme: OrganisationId = "acme".parse().unwrap();
        let free = number("+39800000000", NumberKind::TollFree);
        let toll = number("+390600000000", NumberKind::Toll);
        let directory = Directory::new(vec![], vec![free.clone(), toll.clone()]);
        let told = |called: &Number, cause| directory.instead(&called.e164, &acme, cause).map(|number| number.e164);
        assert_eq!(told(&free, Cause::TollFreeNotAllowed), Some(toll.e164));
        assert_eq!(told(&free, Cause::NoCredit), Some(toll.e164));
        assert_eq!(told(&free, Cause::NotLicensed), None, "no number helps");
        assert_eq!(told(&toll, Cause::NoCredit), None, "they have dialled one");
    }

    #[test]
    fn only_carriers_with_a_route_lead_out() {
        let mut out = carrier("out", &[]);
        out.route = Some("udp:127.0.0.1:5060".parse().unwrap());
        let directory = Directory::new(vec![carrier("in", &["10.0.0.1"]), out], vec![]);
        let routes = directory.routes(&"+390612345678".parse().unwrap(), Wall::default());
        assert_eq!(routes.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["out"]);
    }
}
