//! DNS messages (RFC 1035 section 4): our question written, and what an answer says to it. The only file that sees hickory.

use super::{Answer, Failure, Kind, MOST_RECORDS, Outcome, Question, Record};
use crate::types::HostName;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use std::net::IpAddr;
use std::time::Duration;

/// From alias to alias, in one answer or over several.
pub(super) const MOST_ALIASES: usize = 8;
/// What we take by UDP: no fragments on any path of today (DNS flag day 2020).
const PAYLOAD: u16 = 1_232;

impl Kind {
    fn record_type(self) -> RecordType {
        match self {
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
        }
    }
}

/// What a message turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Outcome(Outcome),
    /// The name is an alias of one that the message says nothing of, believed for so long.
    Alias(String, Duration),
    /// It did not fit into a datagram.
    Truncated,
    /// Not the answer to this question: whoever sent it is not to be believed, and the answer may still come.
    Foreign,
}

/// The message that asks; `None` for what is no name.
pub(super) fn write(id: u16, question: &Question) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(&question.name)?, question.kind.record_type()));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    message.to_vec().ok()
}

/// A name as the wire has it, from its root.
fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A name in our one form; empty for the root. `None` for what no host and no service can be called.
fn text(name: &Name) -> Option<String> {
    if name.is_root() {
        return Some(String::new());
    }
    name.to_ascii().parse::<HostName>().ok().map(|name| name.as_str().to_owned())
}

/// Reads what came from the server that was asked.
pub(super) fn read(id: u16, question: &Question, bytes: &[u8]) -> Heard {
    let Ok(message) = Message::from_vec(bytes) else {
        // What is ours but broken will not come any better; what is not ours must not end the waiting.
        let is_ours = bytes.starts_with(&id.to_be_bytes());
        return if is_ours { Heard::Outcome(Err(Failure::Senseless)) } else { Heard::Foreign };
    };
    let head = &message.metadata;
    let is_answer = head.id == id && head.message_type == MessageType::Response && head.op_code == OpCode::Query;
    let asked = message.queries.first().filter(|_| message.queries.len() == 1);
    let is_ours = asked.is_some_and(|asked| {
        let same_name = name(&question.name).is_some_and(|name| name == *asked.name());
        same_name && asked.query_type() == question.kind.record_type() && asked.query_class() == DNSClass::IN
    });
    // Some servers leave the question out of what they refuse.
    let refuses = head.response_code != ResponseCode::NoError && message.queries.is_empty();
    if !is_answer || !(is_ours || refuses) {
        return Heard::Foreign;
    }
    match head.response_code {
        _ if head.truncation => Heard::Truncated,
        ResponseCode::NoError | ResponseCode::NXDomain => follow(question, &message),
        refused => Heard::Outcome(Err(Failure::Refused(refused.into()))),
    }
}

/// From the name that was asked along its aliases to the records.
fn follow(question: &Question, message: &Message) -> Heard {
    let Some(mut at) = name(&question.name) else { return Heard::Outcome(Err(Failure::Senseless)) };
    let mut ttl = Duration::MAX;
    for aliases in 0..=MOST_ALIASES {
        let here = message.answers.iter().filter(|record| record.dns_class == DNSClass::IN && record.name == at);
        let mut alias = None;
        let mut records = Vec::new();
        for record in here {
            let until = Duration::from_secs(u64::from(record.ttl));
            match &record.data {
                RData::CNAME(target) => alias = Some((target.0.clone(), until)),
                data => {
                    if let Some(found) = said(question.kind, data) {
                        ttl = ttl.min(until);
                        records.push(found);
                    }
                }
            }
        }
        if !records.is_empty() {
            return Heard::Outcome(Ok(Answer { records: first_of(records), ttl }));
        }
        match alias {
            Some((target, until)) => {
                ttl = ttl.min(until);
                at = target;
            }
            None if aliases == 0 || message.metadata.response_code == ResponseCode::NXDomain => {
                return Heard::Outcome(Ok(Answer { records: Vec::new(), ttl: ttl.min(nothing_for(message)) }));
            }
            None => {
                let Some(target) = text(&at).filter(|target| !target.is_empty()) else { break };
                return match has_nothing(message) {
                    true => Heard::Outcome(Ok(Answer { records: Vec::new(), ttl: ttl.min(nothing_for(message)) })),
                    false => Heard::Alias(target, ttl),
                };
            }
        }
    }
    Heard::Outcome(Err(Failure::Senseless))
}

/// An authority stands beside an answer without records where there are none (RFC 2308 section 2.2).
fn has_nothing(message: &Message) -> bool {
    message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)))
}

/// For how long there is nothing (RFC 2308 section 5); half a minute where nobody says.
fn nothing_for(message: &Message) -> Duration {
    let of_zone = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(zone) => Some(record.ttl.min(zone.minimum)),
        _ => None,
    });
    Duration::from_secs(u64::from(of_zone.unwrap_or(30)))
}

/// What a record says to such a question; `None` where it says nothing, or nothing that can be used.
fn said(kind: Kind, data: &RData) -> Option<Record> {
    match (kind, data) {
        (Kind::A, RData::A(address)) => Some(Record::Address(IpAddr::V4(address.0))),
        (Kind::Aaaa, RData::AAAA(address)) => Some(Record::Address(IpAddr::V6(address.0))),
        (Kind::Srv, RData::SRV(srv)) => {
            Some(Record::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: text(&srv.target)? })
        }
        (Kind::Naptr, RData::NAPTR(naptr)) => {
            let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let replacement = if naptr.regexp.is_empty() { text(&naptr.replacement)? } else { String::new() };
            let (order, preference) = (naptr.order, naptr.preference);
            Some(Record::Naptr {
                order,
                preference,
                flags: word(&naptr.flags),
                service: word(&naptr.services),
                replacement,
            })
        }
        _ => None,
    }
}

/// As many as are kept: of those that have an order the first by it.
fn first_of(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| match record {
        Record::Naptr { order, preference, .. } => (*order, *preference),
        Record::Srv { priority, .. } => (*priority, 0),
        Record::Address(_) => (0, 0),
    });
    records.truncate(MOST_RECORDS);
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, NAPTR, SOA, SRV};
    use proptest::prelude::*;

    const ID: u16 = 7;

    fn question(kind: Kind, name: &str) -> Question {
        Question { kind, name: name.to_owned() }
    }

    fn at(text: &str) -> Name {
        name(text).unwrap()
    }

    fn record(owner: &str, ttl: u32, data: RData) -> hickory_proto::rr::Record {
        hickory_proto::rr::Record::from_rdata(at(owner), ttl, data)
    }

    fn address(owner: &str, ttl: u32, last: u8) -> hickory_proto::rr::Record {
        record(owner, ttl, RData::A(A([192, 0, 2, last].into())))
    }

    fn alias(owner: &str, ttl: u32, target: &str) -> hickory_proto::rr::Record {
        record(owner, ttl, RData::CNAME(CNAME(at(target))))
    }

    fn zone(ttl: u32, minimum: u32) -> hickory_proto::rr::Record {
        record("example", ttl, RData::SOA(SOA::new(at("a"), at("b"), 1, 1, 1, 1, minimum)))
    }

    /// An answer to `asked` with these records, as bytes.
    fn answer(asked: &Question, answers: Vec<hickory_proto::rr::Record>) -> Message {
        let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(at(&asked.name), asked.kind.record_type()));
        message.add_answers(answers);
        message
    }

    fn heard(asked: &Question, message: &Message) -> Heard {
        read(ID, asked, &message.to_vec().unwrap())
    }

    fn found(ttl_s: u64, last: &[u8]) -> Heard {
        let records = last.iter().map(|last| Record::Address([192, 0, 2, *last].into())).collect();
        Heard::Outcome(Ok(Answer { records, ttl: Duration::from_secs(ttl_s) }))
    }

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let bytes = write(ID, &question(Kind::Srv, "_sip._udp.carrier.example")).unwrap();
        let message = Message::from_vec(&bytes).unwrap();
        assert!(message.metadata.recursion_desired && message.metadata.id == ID);
        assert_eq!(message.queries[0].name().to_ascii(), "_sip._udp.carrier.example.");
        assert_eq!(message.queries[0].query_type(), RecordType::SRV);
        assert_eq!(message.max_payload(), PAYLOAD);
        assert_eq!(write(ID, &question(Kind::A, &"a".repeat(64))), None);
    }

    #[test]
    fn addresses_are_those_of_the_name_and_of_its_aliases() {
        let asked = question(Kind::A, "a.example");
        let rows: [(Vec<hickory_proto::rr::Record>, Heard); 8] = [
            (vec![address("a.example", 60, 1), address("A.Example", 30, 2)], found(30, &[1, 2])),
            (vec![address("b.example", 60, 1)], found(30, &[])),
            (vec![alias("a.example", 9, "b.example"), address("b.example", 60, 1)], found(9, &[1])),
            (
                // In whatever order they stand.
                vec![
                    address("c.example", 60, 1),
                    alias("b.example", 70, "c.example"),
                    alias("a.example", 80, "b.example"),
                ],
                found(60, &[1]),
            ),
            (vec![alias("a.example", 9, "b.example")], Heard::Alias("b.example".to_owned(), Duration::from_secs(9))),
            (vec![alias("a.example", 9, "a.example")], Heard::Outcome(Err(Failure::Senseless))),
            (
                vec![alias("a.example", 9, "b.example"), alias("b.example", 9, "a.example")],
                Heard::Outcome(Err(Failure::Senseless)),
            ),
            (vec![], found(30, &[])),
        ];
        for (answers, expected) in rows {
            assert_eq!(heard(&asked, &answer(&asked, answers.clone())), expected, "{answers:?}");
        }
    }

    #[test]
    fn nothing_is_believed_for_as_long_as_the_zone_says() {
        let asked = question(Kind::A, "a.example");
        for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
            let mut message = answer(&asked, vec![]);
            message.metadata.response_code = code;
            message.add_authority(zone(900, 120));
            assert_eq!(heard(&asked, &message), found(120, &[]));
        }
        let mut message = answer(&asked, vec![alias("a.example", 9, "b.example")]);
        message.add_authority(zone(900, 120));
        assert_eq!(heard(&asked, &message), found(9, &[]), "the alias leads nowhere");
    }

    #[test]
    fn what_is_not_the_answer_to_our_question_is_not_heard() {
        let asked = question(Kind::A, "a.example");
        let good = answer(&asked, vec![address("a.example", 60, 1)]);
        let changed = |change: fn(&mut Message)| {
            let mut message = good.clone();
            change(&mut message);
            heard(&asked, &message)
        };
        assert_eq!(heard(&asked, &good), found(60, &[1]));
        assert_eq!(changed(|it| it.metadata.id = 8), Heard::Foreign);
        assert_eq!(changed(|it| it.metadata.message_type = MessageType::Query), Heard::Foreign);
        assert_eq!(changed(|it| it.metadata.op_code = OpCode::Notify), Heard::Foreign);
        assert_eq!(changed(|it| it.queries.clear()), Heard::Foreign);
        assert_eq!(changed(|it| it.queries[0] = Query::query(at("b.example"), RecordType::A)), Heard::Foreign);
        assert_eq!(changed(|it| it.queries[0] = Query::query(at("a.example"), RecordType::AAAA)), Heard::Foreign);
        assert_eq!(changed(|it| it.queries[0].query_class = DNSClass::CH), Heard::Foreign);
        assert_eq!(changed(|it| it.metadata.truncation = true), Heard::Truncated);
        let refused = |code: u16| Heard::Outcome(Err(Failure::Refused(code)));
        assert_eq!(changed(|it| it.metadata.response_code = ResponseCode::ServFail), refused(2));
        let without_question = changed(|it| {
            it.metadata.response_code = ResponseCode::Refused;
            it.queries.clear();
        });
        assert_eq!(without_question, refused(5));
        assert_eq!(read(ID, &asked, b"\0"), Heard::Foreign);
        assert_eq!(read(ID, &asked, b"\0\x07broken"), Heard::Outcome(Err(Failure::Senseless)));
    }

    #[test]
    fn services_are_read_and_bounded() {
        let asked = question(Kind::Srv, "_sip._udp.a.example");
        let srv = |priority, target: &str| {
            record("_sip._udp.a.example", 60, RData::SRV(SRV::new(priority, 5, 5060, at(target))))
        };
        let many = (0..1_000).rev().map(|number| srv(number, "p.example")).collect();
        let Heard::Outcome(Ok(Answer { records, .. })) = heard(&asked, &answer(&asked, many)) else { panic!() };
        let priorities: Vec<u16> = records
            .iter()
            .map(|record| match record {
                Record::Srv { priority, .. } => *priority,
                _ => panic!(),
            })
            .collect();
        assert_eq!(priorities, (0..MOST_RECORDS as u16).collect::<Vec<_>>(), "the first by priority");
        let root = record("_sip._udp.a.example", 60, RData::SRV(SRV::new(0, 0, 0, Name::root())));
        let none = Record::Srv { priority: 0, weight: 0, port: 0, target: String::new() };
        let said = Answer { records: vec![none], ttl: Duration::from_secs(60) };
        assert_eq!(heard(&asked, &answer(&asked, vec![root])), Heard::Outcome(Ok(said)));

        let asked = question(Kind::Naptr, "a.example");
        let naptr = |flags: &str, regexp: &str| {
            let bytes = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
            let (service, to) = (bytes("SIP+D2U"), at("_sip._udp.A.example"));
            record("a.example", 60, RData::NAPTR(NAPTR::new(1, 2, bytes(flags), service, bytes(regexp), to)))
        };
        let said = |flags: &str, replacement: &str| Record::Naptr {
            order: 1,
            preference: 2,
            flags: flags.to_owned(),
            service: "SIP+D2U".to_owned(),
            replacement: replacement.to_owned(),
        };
        let records = vec![said("s", "_sip._udp.a.example"), said("u", "")];
        let heard = heard(&asked, &answer(&asked, vec![naptr("s", ""), naptr("u", "!^.*$!sip:x@y!")]));
        assert_eq!(heard, Heard::Outcome(Ok(Answer { records, ttl: Duration::from_secs(60) })));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..400, with in any::<u8>()) {
            let asked = question(Kind::Srv, "_sip._udp.a.example");
            let _ = read(ID, &asked, &bytes);
            let srv = record("_sip._udp.a.example", 60, RData::SRV(SRV::new(1, 2, 3, super::name("p.example").unwrap())));
            let mut whole = answer(&asked, vec![alias("a.example", 1, "b.example"), srv]).to_vec().unwrap();
            let at = at % whole.len();
            whole[at] = with;
            let _ = read(ID, &asked, &whole);
            let _ = read(ID, &asked, &whole[..at]);
        }
    }
}
