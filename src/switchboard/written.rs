//! A call out as a carrier wants it written: whom we call, who we say we are, and what differs from carrier to carrier.

use crate::trunk::{Carrier, Quirk};
use crate::types::E164;
use std::net::SocketAddr;

/// Request-URI, From, To, and headers beside them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub request_uri: String,
    pub from: String,
    pub to: String,
    pub headers: Vec<(String, String)>,
}

impl Written {
    /// `contact` is what we call ourselves towards this carrier, `route` where it takes calls.
    pub fn new(
        carrier: &Carrier,
        (contact, route): (SocketAddr, &str),
        number: &E164,
        caller: Option<E164>,
    ) -> Written {
        let called = escaped(&carrier.number_format_out.write(number));
        let host = carrier.domain.clone().unwrap_or_else(|| route.to_string());
        let own = carrier.domain.clone().filter(|_| carrier.has(Quirk::OwnDomain));
        let own = own.unwrap_or_else(|| contact.to_string());
        let phone = if carrier.has(Quirk::UserPhone) { ";user=phone" } else { "" };
        let shown = caller.map(|caller| format!("<sip:{}@{own}{phone}>", escaped(&carrier.shown_caller(&caller))));
        // RFC 3325 section 5: what we assert is for our trust domain alone.
        let asserted = shown.clone().filter(|_| carrier.trusted_identity);
        let older = asserted.clone().filter(|_| carrier.has(Quirk::RemotePartyId));
        let headers = [
            asserted.map(|shown| ("P-Asserted-Identity".to_owned(), shown)),
            older.map(|shown| ("Remote-Party-ID".to_owned(), format!("{shown};party=calling;privacy=off"))),
        ];
        Written {
            request_uri: format!("sip:{called}@{host}{phone}"),
            // RFC 3323 section 4.1.1.3.
            from: shown.unwrap_or_else(|| "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned()),
            to: format!("<sip:{called}@{host}{phone}>"),
            headers: headers.into_iter().flatten().collect(),
        }
    }
}

/// Of what a number is written with, `#` alone may not stand in a user part (RFC 3261 section 25.1).
fn escaped(number: &str) -> String {
    number.replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each quirk answers to what a carrier does otherwise; each row says what it then reads.
    #[test]
    fn each_carrier_reads_what_it_wants_to_read() {
        let plain = Carrier::new("acme".parse().unwrap());
        let with = |quirks: &[Quirk]| Carrier {
            quirks: quirks.to_vec(),
            domain: Some("trunk.example".to_owned()),
            trusted_identity: true,
            ..plain.clone()
        };
        let asserted = |value: &str| ("P-Asserted-Identity".to_owned(), value.to_owned());
        let ours = "<sip:+390612345678@192.0.2.1:5060>";
        let rows = [
            (plain.clone(), "sip:+442079460000@203.0.113.7:5060", ours, vec![]),
            (with(&[]), "sip:+442079460000@trunk.example", ours, vec![asserted(ours)]),
            (
                with(&[Quirk::UserPhone]),
                "sip:+442079460000@trunk.example;user=phone",
                "<sip:+390612345678@192.0.2.1:5060;user=phone>",
                vec![asserted("<sip:+390612345678@192.0.2.1:5060;user=phone>")],
            ),
            (
                with(&[Quirk::OwnDomain]),
                "sip:+442079460000@trunk.example",
                "<sip:+390612345678@trunk.example>",
                vec![asserted("<sip:+390612345678@trunk.example>")],
            ),
            (
                with(&[Quirk::RemotePartyId]),
                "sip:+442079460000@trunk.example",
                ours,
                vec![asserted(ours), ("Remote-Party-ID".to_owned(), format!("{ours};party=calling;privacy=off"))],
            ),
            // What it does not vouch for it is not told, in old words either; and without a name of its own, its address.
            (
                Carrier { trusted_identity: false, domain: None, ..with(&[Quirk::RemotePartyId, Quirk::OwnDomain]) },
                "sip:+442079460000@203.0.113.7:5060",
                ours,
                vec![],
            ),
            (
                Carrier { number_format_out: "prefix:9981#:bare".parse().unwrap(), ..plain.clone() },
                "sip:9981%23442079460000@203.0.113.7:5060",
                "<sip:390612345678@192.0.2.1:5060>",
                vec![],
            ),
        ];
        let ways = ("192.0.2.1:5060".parse().unwrap(), "203.0.113.7:5060");
        let number = "+442079460000".parse().unwrap();
        for (carrier, request_uri, from, headers) in rows {
            let written = Written::new(&carrier, ways, &number, "+390612345678".parse().ok());
            let to = format!("<{request_uri}>");
            let due = Written { request_uri: request_uri.to_owned(), from: from.to_owned(), to, headers };
            assert_eq!(written, due, "{:?}", carrier.quirks);
        }
        let nobody = Written::new(&with(&[Quirk::RemotePartyId]), ways, &number, None);
        assert_eq!(
            (nobody.from.as_str(), nobody.headers.len()),
            ("\"Anonymous\" <sip:anonymous@anonymous.invalid>", 0)
        );
    }
}
