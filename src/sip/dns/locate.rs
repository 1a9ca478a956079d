//! The rules of RFC 3263 section 4: what is to be asked of a name, and what the answers come to.
//!
//! Nothing is remembered here. Whoever wants a name located calls [`locate`] again with each answer that came, with the same
//! seed, until it asks no more.

use super::{Answer, Failure, Kind, Outcome, Question, Record};
use crate::sip::Transport;
use crate::types::HostName;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Hosts of a service that are looked up, the first in order.
const MOST_HOSTS: usize = 8;
/// Addresses that are tried, and of each host.
pub(in crate::sip) const MOST_TARGETS: usize = 16;
const MOST_OF_HOST: usize = 8;
/// Services of other names that a name leads to by NAPTR.
const MOST_SERVICES: usize = 8;
/// Steps that a weight is drawn in.
const FINENESS: u64 = 64;
/// Addresses that a host may have whose name says who rings.
pub(in crate::sip) const MOST_SENDERS: usize = 64;

/// One transport that we speak: our end, and what we call ourselves there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub transport: Transport,
    pub bound: SocketAddr,
    pub contact: SocketAddr,
}

/// Where requests are to go, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: HostName,
    /// Where one is named nothing but addresses is asked for.
    pub port: Option<u16>,
    /// `None`: as the name says.
    pub transport: Option<Transport>,
    /// What we speak, what we like best first: it decides where the name says nothing.
    pub locals: Vec<Local>,
    /// The name in the certificate of whoever is there by TLS (RFC 5922 section 4: the one that was asked for, whatever DNS
    /// made of it).
    pub tls_name: Arc<str>,
}

/// One address to try, and by which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sip) struct Target {
    pub transport: Transport,
    pub peer: SocketAddr,
}

/// Why there is nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Why {
    Failure(Failure),
    /// The name has no address.
    NoAddress,
    /// Whoever owns the name says that it has no such service (RFC 2782: the target is the root).
    NoService,
    /// By TLS another name is to be shown wherever it leads.
    OtherName,
    /// It wants a transport, or a family of addresses, that we do not listen on.
    NotSpoken,
}

impl Why {
    pub const fn words(self) -> &'static str {
        match self {
            Why::Failure(failure) => failure.words(),
            Why::NoAddress => "the name has no address",
            Why::NoService => "the name says that there is no such service",
            Why::OtherName => "its addresses are to show the name of another carrier by TLS (tls_name)",
            Why::NotSpoken => "it speaks no transport or family of addresses of ours (sip.listen)",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    /// These are to be asked, all of them at once.
    Ask(Vec<Question>),
    /// Not empty, the first to be tried first; and for how long it is so.
    Found(Vec<T>, Duration),
    Nothing(Why),
}

/// In place of how long senders are so: not all of them are known, since something could not be asked.
pub(in crate::sip) const UNSURE: Duration = Duration::MAX;

/// What is known of a question.
pub(super) type Known<'a> = &'a dyn Fn(&Question) -> Option<&'a Outcome>;

/// Goes as far as what is known leads.
pub(super) fn locate<'a>(place: &Place, seed: u64, known: Known<'a>) -> Step<Target> {
    let mut walk = Walk { place, known, rng: StdRng::seed_from_u64(seed), ttl: Duration::MAX };
    match walk.targets() {
        Ok(targets) => Step::Found(targets, walk.ttl),
        Err(Halt::Ask(questions)) => Step::Ask(questions),
        Err(Halt::Nothing(why)) => Step::Nothing(why),
    }
}

/// All addresses from which whoever has this name may send: its own, and those of the hosts of its services, of which some have
/// names that only NAPTR tells.
pub(super) fn addresses<'a>(host: &HostName, known: Known<'a>) -> Step<IpAddr> {
    let of_host = |name: &str| [Kind::A, Kind::Aaaa].map(|kind| Question { kind, name: name.to_owned() });
    let naptr = Question { kind: Kind::Naptr, name: host.as_str().to_owned() };
    let mut services: Vec<String> = Transport::ALL.map(|transport| service_name(transport, host.as_str())).into();
    let named = known(&naptr).into_iter().flatten().flat_map(|answer| &answer.records).filter_map(Record::service);
    for (_, name) in named.take(MOST_SERVICES) {
        if !services.iter().any(|known| known == name) {
            services.push(name.to_owned());
        }
    }
    let services: Vec<Question> = services.into_iter().map(|name| Question { kind: Kind::Srv, name }).collect();
    let mut questions = of_host(host.as_str()).to_vec();
    let offered = services.iter().filter_map(known).flatten().flat_map(|answer| &answer.records);
    let mut targets: Vec<&str> = offered.filter_map(Record::target).collect();
    targets.sort_unstable();
    targets.dedup();
    questions.extend(targets.into_iter().filter(|name| *name != host.as_str()).take(MOST_HOSTS).flat_map(of_host));
    questions.extend(services);
    questions.push(naptr);
    let missing: Vec<Question> = questions.iter().filter(|question| known(question).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Step::Ask(missing);
    }
    let (mut found, mut ttl, mut failed) = (Vec::new(), UNSURE, None);
    for (question, outcome) in questions.iter().filter_map(|question| Some((question, known(question)?))) {
        match outcome {
            Ok(answer) => {
                ttl = ttl.min(answer.ttl);
                found.extend(answer.records.iter().filter_map(Record::address));
            }
            // Servers that know nothing of NAPTR refuse it, and firewalls drop it. Where it was answered once, that still stands.
            Err(_) if question.kind == Kind::Naptr => {}
            Err(why) => failed = failed.or(Some(Why::Failure(*why))),
        }
    }
    found.sort();
    found.dedup();
    found.truncate(MOST_SENDERS);
    match (found.is_empty(), failed) {
        (true, why) => Step::Nothing(why.unwrap_or(Why::NoAddress)),
        (false, None) => Step::Found(found, ttl),
        // Half of them is not all of them, but better than none.
        (false, Some(_)) => Step::Found(found, UNSURE),
    }
}

impl Record {
    fn address(&self) -> Option<IpAddr> {
        match self {
            Record::Address(address) => Some(*address),
            Record::Naptr { .. } | Record::Srv { .. } => None,
        }
    }

    /// A service of SIP, and under which name it is found by SRV.
    fn service(&self) -> Option<(&str, &str)> {
        let Record::Naptr { flags, service, replacement, .. } = self else { return None };
        let is_sip = service.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("sip"));
        (is_sip && flags.eq_ignore_ascii_case("s") && !replacement.is_empty()).then_some((service, replacement))
    }

    /// The host of a service.
    fn target(&self) -> Option<&str> {
        match self {
            Record::Srv { target, .. } if !target.is_empty() => Some(target),
            _ => None,
        }
    }
}

enum Halt {
    Ask(Vec<Question>),
    Nothing(Why),
}

/// A host that offers the service.
type Host = (Transport, String, u16);

struct Walk<'a, 'p> {
    place: &'p Place,
    known: Known<'a>,
    rng: StdRng,
    ttl: Duration,
}

impl<'a> Walk<'a, '_> {
    fn targets(&mut self) -> Result<Vec<Target>, Halt> {
        let hosts = self.hosts()?;
        self.addresses_of(&hosts)
    }

    fn speaks(&self, transport: Transport) -> bool {
        self.place.locals.iter().any(|local| local.transport == transport)
    }

    /// RFC 3263 sections 4.1 and 4.2.
    fn hosts(&mut self) -> Result<Vec<Host>, Halt> {
        let name = self.place.host.as_str().to_owned();
        // Without NAPTR and SRV it is UDP (section 4.1), which everybody speaks; else what we have.
        let usual = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().find(|usual| self.speaks(*usual));
        match (self.place.transport, self.place.port) {
            (Some(transport), _) if !self.speaks(transport) => Err(Halt::Nothing(Why::NotSpoken)),
            (transport, Some(port)) => {
                let transport = transport.or(usual).ok_or(Halt::Nothing(Why::NotSpoken))?;
                Ok(vec![(transport, name, port)])
            }
            (Some(transport), None) => {
                let found = self.service(transport, service_name(transport, &name))?;
                Ok(found.unwrap_or_else(|| vec![(transport, name, transport.usual_port())]))
            }
            (None, None) => {
                if let Some(found) = self.by_naptr(&name)? {
                    return Ok(found);
                }
                if let Some(found) = self.by_any_service(&name)? {
                    return Ok(found);
                }
                let transport = usual.ok_or(Halt::Nothing(Why::NotSpoken))?;
                Ok(vec![(transport, name, transport.usual_port())])
            }
        }
    }

    /// What the owner of the name prefers, of what we speak. `None`: it says nothing of SIP.
    fn by_naptr(&mut self, name: &str) -> Result<Option<Vec<Host>>, Halt> {
        // Servers that know nothing of NAPTR refuse it, and firewalls that do not know it drop it; SRV and addresses they know.
        let records = self.ask(Kind::Naptr, name)?.map_or(&[][..], |answer| &answer.records);
        let mut services: Vec<(u16, u16, Option<Transport>, &str)> = Vec::new();
        for record in records {
            let (Record::Naptr { order, preference, .. }, Some((service, name))) = (record, record.service()) else {
                continue;
            };
            let transport = transport_of(service).filter(|transport| self.speaks(*transport));
            services.push((*order, *preference, transport, name));
        }
        services.sort_by_key(|(order, preference, ..)| (*order, *preference));
        if services.is_empty() {
            return Ok(None);
        }
        for (_, _, transport, replacement) in &services {
            let Some(transport) = *transport else { continue };
            if let Some(found) = self.service(transport, (*replacement).to_owned())? {
                return Ok(Some(found));
            }
        }
        let spoken = services.iter().any(|(_, _, transport, _)| transport.is_some());
        Err(Halt::Nothing(if spoken { Why::NoAddress } else { Why::NotSpoken }))
    }

    /// Each transport that we speak is asked for (RFC 3263 section 4.1); of those that are there the one that we like best.
    fn by_any_service(&mut self, name: &str) -> Result<Option<Vec<Host>>, Halt> {
        let mut transports: Vec<Transport> = Vec::new();
        for local in &self.place.locals {
            if !transports.contains(&local.transport) {
                transports.push(local.transport);
            }
        }
        let question = |transport: &Transport| Question { kind: Kind::Srv, name: service_name(*transport, name) };
        let missing: Vec<Question> =
            transports.iter().map(question).filter(|question| (self.known)(question).is_none()).collect();
        if !missing.is_empty() {
            return Err(Halt::Ask(missing));
        }
        let mut refused = None;
        for transport in transports {
            match self.service(transport, service_name(transport, name)) {
                Ok(None) => {}
                Ok(Some(found)) => return Ok(Some(found)),
                // One of them is not to be had: another may be.
                Err(Halt::Nothing(why)) => refused = refused.or(Some(why)),
                Err(ask) => return Err(ask),
            }
        }
        refused.map_or(Ok(None), |why| Err(Halt::Nothing(why)))
    }

    /// The hosts of a service in the order in which they are to be tried. `None`: it has no records.
    fn service(&mut self, transport: Transport, name: String) -> Result<Option<Vec<Host>>, Halt> {
        let answer = match self.ask(Kind::Srv, &name)? {
            Ok(answer) => answer,
            // Servers that know nothing of services refuse them, as with NAPTR.
            Err(Failure::Refused(_)) => return Ok(None),
            Err(failure) => return Err(Halt::Nothing(Why::Failure(*failure))),
        };
        let mut offers = Vec::new();
        for record in &answer.records {
            let Record::Srv { priority, weight, port, target } = record else { continue };
            offers.push(Offer { priority: *priority, weight: *weight, port: *port, target });
        }
        match offers.as_slice() {
            [] => Ok(None),
            [only] if only.target.is_empty() => Err(Halt::Nothing(Why::NoService)),
            _ => {
                offers.retain(|offer| !offer.target.is_empty() && offer.port != 0);
                let order = in_order(offers, &mut self.rng);
                let host = |offer: &Offer<'_>| (transport, offer.target.to_owned(), offer.port);
                Ok(Some(order.iter().take(MOST_HOSTS).map(host).collect()))
            }
        }
    }

    fn addresses_of(&mut self, hosts: &[Host]) -> Result<Vec<Target>, Halt> {
        let mut missing = Vec::new();
        let (mut targets, mut why) = (Vec::new(), Why::NoAddress);
        for (transport, host, port) in hosts {
            let mut found = Vec::new();
            for kind in self.families(*transport) {
                match self.ask(kind, host) {
                    Ok(Ok(answer)) => {
                        // Servers change their order with each answer; one that is kept has one order for all that it is kept for.
                        let mut of_kind: Vec<IpAddr> = answer.records.iter().filter_map(Record::address).collect();
                        of_kind.sort();
                        of_kind.shuffle(&mut self.rng);
                        found.extend(of_kind);
                    }
                    Ok(Err(failure)) => why = Why::Failure(*failure),
                    Err(Halt::Ask(questions)) => missing.extend(questions),
                    Err(nothing) => return Err(nothing),
                }
            }
            found.truncate(MOST_OF_HOST);
            for ip in found {
                let target = Target { transport: *transport, peer: SocketAddr::new(ip, *port) };
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        missing.sort();
        missing.dedup();
        targets.truncate(MOST_TARGETS);
        match (missing.is_empty(), targets.is_empty()) {
            (false, _) => Err(Halt::Ask(missing)),
            (true, true) => Err(Halt::Nothing(why)),
            (true, false) => Ok(targets),
        }
    }

    /// The kinds of addresses that we can reach by a transport, in the order of our own.
    fn families(&self, transport: Transport) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for local in self.place.locals.iter().filter(|local| local.transport == transport) {
            let kind = if local.bound.is_ipv4() { Kind::A } else { Kind::Aaaa };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    fn ask(&mut self, kind: Kind, name: &str) -> Result<Result<&'a Answer, &'a Failure>, Halt> {
        let question = Question { kind, name: name.to_owned() };
        match (self.known)(&question) {
            None => Err(Halt::Ask(vec![question])),
            Some(Ok(answer)) => {
                self.ttl = self.ttl.min(answer.ttl);
                Ok(Ok(answer))
            }
            Some(Err(failure)) => Ok(Err(failure)),
        }
    }
}

/// RFC 3263 section 4.1 and RFC 2782.
fn service_name(transport: Transport, name: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{name}"),
        Transport::Tcp => format!("_sip._tcp.{name}"),
        Transport::Tls => format!("_sips._tcp.{name}"),
    }
}

/// RFC 3263 section 4.1.
fn transport_of(service: &str) -> Option<Transport> {
    let services = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    services.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| transport)
}

/// One SRV record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer<'a> {
    priority: u16,
    weight: u16,
    port: u16,
    target: &'a str,
}

/// RFC 2782: the lowest priority first; of one priority each as likely to be next as its weight says, and one without any
/// weight hardly ever before the others.
fn in_order<'a>(mut offers: Vec<Offer<'a>>, rng: &mut StdRng) -> Vec<Offer<'a>> {
    // Whatever order they came in: the same seed makes the same choice.
    offers.sort_by_key(|offer| (offer.priority, offer.weight, offer.target, offer.port));
    let mut ordered = Vec::with_capacity(offers.len());
    while let Some(first) = offers.first() {
        let end = offers.iter().take_while(|offer| offer.priority == first.priority).count();
        // The one number more that the RFC draws for those without a weight must not tip the balance of small ones.
        let weight = |offer: &Offer<'_>| u64::from(offer.weight) * FINENESS;
        let drawn = rng.random_range(0..=offers[..end].iter().map(weight).sum());
        let mut running = 0;
        let chosen = offers[..end].iter().position(|offer| {
            running += weight(offer);
            running >= drawn
        });
        ordered.push(offers.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests;
