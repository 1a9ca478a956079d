//! What is posted, and what the answer means.

use super::{Alert, Letter, Payment, Said, alert};
use crate::types::Micros;
use serde::Deserialize;
use serde_json::json;

/// No more of an answer's words is kept.
const LONGEST_REASON: usize = 200;

/// An alert as a webhook gets it.
pub(super) fn letter_body(letter: &Letter) -> Vec<u8> {
    let Alert { id, kind, at, organisation, .. } = &letter.alert;
    let body = json!({
        "id": id, "kind": kind.slug(), "at": at.seconds(),
        "organisation": organisation.as_ref().map(|organisation| organisation.as_str()),
        "subject": letter.alert.subject(), "text": letter.alert.text(), "facts": letter.alert.facts,
    });
    body.to_string().into_bytes()
}

/// A payment as the hook gets it.
pub(super) fn payment_body(payment: &Payment) -> Vec<u8> {
    let body = json!({
        "organisation": payment.organisation.as_str(), "amount": plain(payment.amount),
        "currency": payment.currency.as_str(), "key": payment.key,
    });
    body.to_string().into_bytes()
}

/// An amount with as many places as it needs, and two at least.
fn plain(amount: Micros) -> String {
    let mut value = amount.to_decimal().normalize();
    if value.scale() < 2 {
        value.rescale(2);
    }
    value.to_string()
}

/// A letter has arrived where the far end says so; whatever it adds does not matter.
pub(super) fn of_letter(status: u16) -> Said {
    if (200..300).contains(&status) { Said::Yes } else { Said::Unclear(told(status)) }
}

/// The answer of a payment hook.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

/// A payment is paid or declined only where the hook says so in so many words; else it may have been paid, and is asked
/// about again.
pub(super) fn of_payment(key: &str, status: u16, body: Result<&[u8], &str>) -> Said {
    // 402 Payment Required is what a hook may well decline with.
    if !(200..300).contains(&status) && status != 402 {
        return Said::Unclear(told(status));
    }
    let answer: Answer = match body.map(serde_json::from_slice) {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Said::Unclear(format!("answered {status} without a JSON object that has a status")),
        Err(why) => return Said::Unclear(why.to_owned()),
    };
    if answer.key.is_some_and(|answered| answered != key) {
        return Said::Unclear("answered about another key".into());
    }
    let reason = answer.reason.map(|reason| alert::cut(&reason, LONGEST_REASON)).filter(|reason| !reason.is_empty());
    match answer.status.as_str() {
        "paid" if status != 402 => Said::Yes,
        "declined" => Said::No(reason.unwrap_or_else(|| "declined, without a reason".into())),
        "pending" => Said::Unclear(reason.map_or("pending".into(), |reason| format!("pending: {reason}"))),
        other => Said::Unclear(format!("answered {status} with an unknown status \"{}\"", alert::cut(other, 40))),
    }
}

fn told(status: u16) -> String {
    if (300..400).contains(&status) {
        format!("answered {status}; redirects are not followed")
    } else {
        format!("answered {status}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_settle_a_payment() {
        let said = |status: u16, body: &str| of_payment("k1", status, Ok(body.as_bytes()));
        assert_eq!(said(200, r#"{"status":"paid"}"#), Said::Yes);
        assert_eq!(said(201, r#"{"status":"paid","key":"k1","more":[1]}"#), Said::Yes);
        assert_eq!(said(200, r#"{"status":"declined","reason":"card expired"}"#), Said::No("card expired".into()));
        assert_eq!(said(402, r#"{"status":"declined"}"#), Said::No("declined, without a reason".into()));
        for (status, body) in [
            (200, r#"{"status":"paid","key":"k2"}"#),
            (402, r#"{"status":"paid"}"#),
            (500, r#"{"status":"paid"}"#),
            (500, r#"{"status":"declined"}"#),
            (302, r#"{"status":"paid"}"#),
            (404, "no such page"),
            (401, r#"{"status":"declined"}"#),
            (200, ""),
            (200, "paid"),
            (200, r#""paid""#),
            (200, r#"{"status":"PAID"}"#),
            (200, r#"{"status":true}"#),
            (200, r#"{"status":"pending"}"#),
            (204, ""),
        ] {
            assert!(matches!(said(status, body), Said::Unclear(_)), "{status} {body}");
        }
        assert_eq!(of_payment("k1", 200, Err("too long")), Said::Unclear("too long".into()));
    }

    #[test]
    fn a_letter_has_arrived_or_not() {
        assert_eq!((of_letter(200), of_letter(204)), (Said::Yes, Said::Yes));
        assert_eq!(of_letter(307), Said::Unclear("answered 307; redirects are not followed".into()));
        assert_eq!(of_letter(500), Said::Unclear("answered 500".into()));
    }

    #[test]
    fn amounts_are_as_payment_systems_write_them() {
        for (micros, text) in [(25_000_000, "25.00"), (10_500_000, "10.50"), (1, "0.000001"), (1_234_500, "1.2345")] {
            assert_eq!(plain(Micros(micros)), text);
        }
    }
}
