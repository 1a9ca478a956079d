//! One leg's reports and its quality: what the far end says, what we say of it, and whether sound goes both ways.

use super::quality::{Bursts, Impairment, Measured, Quality};
use super::receiver::Receiver;
use super::report::{Heard, Remote, Reporter};
use super::sender::Sender;
use super::srtp::{Bad, GROWTH_MOST, Opener};
use crate::clock::{Mono, Now};
use crate::media::Codec;
use std::fmt::Write;

/// A report of ours with all that secrecy adds.
pub const REPORT_MOST: usize = super::report::LENGTH_MOST + GROWTH_MOST;
/// Sound missing from so much of what we sent, of 256, is no sound.
const DEAF: u8 = 250;
/// Milliseconds of one step of [`Bursts`]: a packet, as nearly all are.
const STEP_MS: u32 = 20;
/// Below so many packets, a second of sound, an opinion would be a guess.
const JUDGED_LEAST: u64 = 50;

#[derive(Debug)]
pub struct Monitor {
    reporter: Reporter,
    opener: Option<Box<Opener>>,
    forged: u64,
}

/// What had been counted at a moment, for the figures of the time after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    expected: u64,
    received: u64,
    late: u64,
    bursts: Bursts,
}

impl Past {
    pub fn of(receiver: &Receiver) -> Past {
        let (expected, received) = receiver.totals();
        Past { expected, received, late: receiver.counts().late, bursts: *receiver.bursts() }
    }
}

/// A name that tells nobody anything: 96 bits as hex (RFC 7022 section 4.2).
struct Name {
    text: [u8; 24],
    length: usize,
}

impl Write for Name {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        let end = self.length + more.len();
        self.text.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Monitor {
    /// `seed` should not be guessable: the name and the moments of the reports come of it.
    pub fn new(now: Mono, ssrc: u32, seed: u128) -> Monitor {
        let mut name = Name { text: [0; 24], length: 0 };
        // 24 signs fit: the mask sees to it.
        let _ = write!(name, "{:024x}", seed >> 32);
        let name = std::str::from_utf8(&name.text).unwrap_or_default();
        let reporter = Reporter::new(now, ssrc, name, true, seed as u64);
        Monitor { reporter, opener: None, forged: 0 }
    }

    /// From now on all must come in secret, or in the open.
    pub fn secure(&mut self, opener: Option<Box<Opener>>) {
        self.opener = opener;
    }

    pub fn is_secret(&self) -> bool {
        self.opener.is_some()
    }

    /// Another address follows.
    pub fn forget(&mut self) {
        self.reporter.forget();
    }

    /// Opens an RTP packet where it lies. What comes in the open opens itself.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        self.unlock(packet, Opener::open)
    }

    fn unlock<'a>(
        &mut self,
        packet: &'a mut [u8],
        open: impl FnOnce(&mut Opener, &mut [u8]) -> Result<usize, Bad>,
    ) -> Option<&'a [u8]> {
        let Some(opener) = &mut self.opener else { return Some(packet) };
        match open(opener, packet) {
            Ok(length) => packet.get(..length),
            Err(why) => {
                self.forged += u64::from(why == Bad::Forged);
                None
            }
        }
    }

    /// Takes RTCP, as it came. True if it is a sign of life; a goodbye is none, and no command either.
    pub fn handle(&mut self, now: Mono, packet: &mut [u8]) -> bool {
        let Some(length) = self.unlock(packet, Opener::open_rtcp).map(<[u8]>::len) else { return false };
        self.reporter.handle(now, &packet[..length]) == Heard::Report
    }

    pub fn is_due(&self, now: Mono) -> bool {
        self.reporter.is_due(now)
    }

    /// Writes a report, the last one with `bye`, ready to be sent; its length.
    pub fn write(
        &mut self,
        now: Now,
        bye: bool,
        sender: &mut Sender,
        receiver: &Receiver,
        quality: &Quality,
        buffer: &mut [u8; REPORT_MOST],
    ) -> Option<usize> {
        let (outbound, inbound) = (sender.outbound(), receiver.inbound());
        let voip = inbound.ssrc.map(|ssrc| quality.voip(ssrc));
        let write = if bye { Reporter::goodbye } else { Reporter::write };
        let length = write(&mut self.reporter, now, &outbound, &inbound, voip.as_ref(), &mut buffer[..])?;
        match sender.secret() {
            Some(protector) => protector.protect_rtcp(buffer, length).ok(),
            None => Some(length),
        }
    }

    /// The figures of the time after `past` until now; `None` where too little came to tell.
    pub fn quality(&self, codec: Codec, receiver: &Receiver, buffer_most_ms: u16, past: &Past) -> Option<Quality> {
        let now = Past::of(receiver);
        let expected = now.expected.saturating_sub(past.expected);
        let received = now.received.saturating_sub(past.received);
        (received >= JUDGED_LEAST).then(|| {
            Quality::of(&Measured {
                codec: Impairment::of(codec),
                expected,
                received,
                late: now.late.saturating_sub(past.late),
                clusters: now.bursts.clusters_after(&past.bursts),
                step_ms: STEP_MS,
                jitter_us: receiver.jitter_us(),
                round_trip: self.reporter.round_trip(),
                buffer_ms: receiver.buffer_ms(),
                buffer_most_ms,
                far_delay_ms: self.remote().voip.map(|voip| voip.end_delay_ms).filter(|ms| *ms > 0),
            })
        })
    }

    pub fn remote(&self) -> &Remote {
        self.reporter.remote()
    }

    /// They report that next to nothing of ours arrives.
    pub fn is_unheard(&self) -> bool {
        self.remote().at.is_some() && self.remote().fraction_lost >= DEAF
    }

    /// Packets whose tag was wrong, and datagrams on the port of RTCP that were none.
    pub fn forged(&self) -> u64 {
        self.forged
    }

    pub fn bad(&self) -> u64 {
        self.reporter.bad()
    }
}
