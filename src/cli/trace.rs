//! `tollbridge trace LEG`: what was said of a leg over SIP, as a ladder, and as a file for sngrep or Wireshark. A call that was
//! refused before it was a leg is asked for by its Call-ID.

use super::bridge::Bridge;
use super::pcap;
use super::{Context, Done, Failure, say, say_json};
use crate::api::trace::{Rung, Trace, TraceQuery};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::types::LegId;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Show {
    /// The leg, as `tollbridge legs` and `usage` name it
    #[arg(required_unless_present = "call_id")]
    leg: Option<LegId>,
    /// In its place a call, by its Call-ID as the carrier and our log tell it: also one that was refused
    #[arg(long, conflicts_with = "leg")]
    call_id: Option<String>,
    /// The first line of each message alone
    #[arg(long)]
    short: bool,
    /// Write the messages, masked as they are shown, to a file that sngrep and Wireshark open; each stands there as one datagram
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl Show {
    pub fn run(self, context: &Context) -> Done {
        let bridge = Bridge::reach(context)?;
        let trace: Trace = match (self.leg, self.call_id) {
            (Some(leg), _) => bridge.get(&format!("/legs/{leg}/trace"))?,
            (None, call_id) => {
                let query = TraceQuery { call_id: call_id.unwrap_or_default() };
                serde_json::from_str(&bridge.get_text("/trace", &query)?)?
            }
        };
        if let Some(path) = &self.pcap {
            let packets = trace.rungs.iter().filter_map(packet);
            let bytes = pcap::write(packets);
            std::fs::write(path, bytes).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        }
        if context.json {
            return say_json(&serde_json::to_value(&trace)?);
        }
        say(&ladder(&trace, self.short))
    }
}

fn packet(rung: &Rung) -> Option<pcap::Packet<'_>> {
    let (here, there) = (rung.here.parse().ok()?, rung.there.parse().ok()?);
    let (from, to) = if rung.out { (here, there) } else { (there, here) };
    Some(pcap::Packet { at: Wall::from_micros(rung.at_us), from, to, payload: rung.text.as_bytes() })
}

/// A line a message, with its moment, what has passed since the first, and its way; below it the message itself.
fn ladder(trace: &Trace, short: bool) -> String {
    let mut text = String::new();
    let began = trace.rungs.first().map_or(0, |rung| rung.at_us);
    for rung in &trace.rungs {
        let first = rung.text.lines().next().unwrap_or_default();
        let (arrow, word) = if rung.out { ("-->", "to  ") } else { ("<--", "from") };
        let after_ms = (rung.at_us - began) / 1_000;
        let again = if rung.again { "  (again)" } else { "" };
        // A text takes whatever is written to it.
        let _ = writeln!(
            text,
            "{}  +{}.{:03} s  {arrow} {word} {} {}  {first}{again}",
            utc(Wall::from_micros(rung.at_us)),
            after_ms / 1_000,
            after_ms % 1_000,
            rung.transport,
            rung.there,
        );
        if !short && !rung.again {
            for line in rung.text.lines().skip(1) {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    if trace.left_out > 0 {
        let _ = writeln!(text, "{} more messages, after the first ones, are not kept", trace.left_out);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_says_when_which_way_and_what_was_said_again() {
        let rung = |at_us, out, again, text: &str| Rung {
            at_us,
            out,
            again,
            transport: "udp".into(),
            here: "127.0.0.1:5060".into(),
            there: "127.0.0.10:5062".into(),
            text: text.into(),
        };
        let trace = Trace {
            left_out: 2,
            rungs: vec![
                rung(1_781_611_200_000_000, false, false, "INVITE sip:a SIP/2.0\r\nTo: b\r\n\r\n"),
                rung(1_781_611_200_500_000, false, true, "INVITE sip:a SIP/2.0\r\nTo: b\r\n\r\n"),
                rung(1_781_611_201_002_000, true, false, "SIP/2.0 200 OK\r\nTo: c\r\n\r\n"),
            ],
            ..Trace::default()
        };
        let text = ladder(&trace, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("+0.000 s  <-- from udp 127.0.0.10:5062  INVITE sip:a SIP/2.0"), "{text}");
        assert_eq!(lines[1], "      To: b");
        assert!(
            text.contains("+0.500 s") && text.matches("(again)").count() == 1 && text.matches("To: b").count() == 1
        );
        assert!(text.contains("+1.002 s  --> to   udp 127.0.0.10:5062  SIP/2.0 200 OK"), "{text}");
        assert!(text.ends_with("2 more messages, after the first ones, are not kept\n"));
        assert!(!ladder(&trace, true).contains("To: b"));
        let bytes = pcap::write(trace.rungs.iter().filter_map(packet));
        assert_eq!(&bytes[..4], &[0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(bytes.windows(6).filter(|window| window == b"INVITE").count(), 2);
    }
}
