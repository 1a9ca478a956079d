//! An alert as a mail.

use super::{Alert, alert};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Written, Message};
use lettre::{Address, message};
use std::fmt;
use std::str::FromStr;

/// An address for mail, `ops@example.com`: the bare form, whose parts are sound.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox(Address);

impl FromStr for Mailbox {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Mailbox, &'static str> {
        const EXPECTED: &str = "expected an address for mail like ops@example.com";
        // RFC 5321 section 4.5.3.1.3 bounds a path.
        if text.len() > 254 || text.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(EXPECTED);
        }
        text.parse().map(Mailbox).map_err(|_| EXPECTED)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A person's address is not for logs.
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…@{}", self.0.domain())
    }
}

/// Tells machines at the far end that no person wrote it, so that none of them answers (RFC 3834 section 5).
#[derive(Clone)]
struct AutoSubmitted;

impl message::header::Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The mail. Its Message-ID is the alert's own, so that a repeat is seen to be one.
pub(super) fn message(alert: &Alert, from: &Mailbox, to: &Mailbox) -> Result<Message, lettre::error::Error> {
    let bare = |mailbox: &Mailbox| Written::new(None, mailbox.0.clone());
    let text = format!("{}\n\n-- \ntollbridge, alert {} ({})\n", alert.text(), alert.id, alert.kind.slug());
    Message::builder()
        .from(bare(from))
        .to(bare(to))
        .subject(alert::cut(&alert.subject(), 200))
        .message_id(Some(format!("<{}@{}>", alert.id, from.0.domain())))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN)
        .body(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::notice::Kind;

    #[test]
    fn addresses_are_read_or_refused() {
        for good in ["ops@example.com", "a.b+c@mail.example.co.uk"] {
            assert_eq!(good.parse::<Mailbox>().unwrap().to_string(), good);
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in
            ["", "ops", "ops@", "@example.com", "Ops <ops@example.com>", "a@b\r\nRCPT TO:<c@d>", "a b@c.d", &long]
        {
            assert!(bad.parse::<Mailbox>().is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", "anna@example.com".parse::<Mailbox>().unwrap()), "…@example.com");
    }

    #[test]
    fn a_name_with_line_breaks_adds_no_header() {
        let alert = Alert {
            id: "a1".into(),
            kind: Kind::Zero,
            at: Wall::from_seconds(0),
            organisation: Some("acme".parse().unwrap()),
            name: "Acme\r\nBcc: all@example.com\r\n\r\nx".into(),
            facts: alert::facts([("available", "0.0000".into()), ("currency", "USD".into())]),
        };
        let mail = message(&alert, &"b@example.com".parse().unwrap(), &"o@example.org".parse().unwrap()).unwrap();
        let bytes = mail.formatted();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Message-ID: <a1@example.com>") && head.contains("Auto-Submitted: auto-generated"));
        assert!(body.contains("0.0000 USD is available"), "{body}");
    }
}
