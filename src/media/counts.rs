//! What the mixer threads count, for whoever watches: added up without a lock, read at any time.

use super::ports::Census;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the counters of all threads say, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ticks: u64,
    /// Ticks that began more than 2 ms after their moment.
    pub late: u64,
    /// Ticks left out after a long pause.
    pub skipped: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub rtcp_in: u64,
    pub rtcp_out: u64,
    /// Sockets that still held packets after their share of a tick.
    pub overflows: u64,
    /// Packets that the kernel did not take.
    pub unsent: u64,
    /// Events that the owner did not fetch in time.
    pub lost_events: u64,
    /// Commands that an engine refused.
    pub refused: u64,
    /// Panics of mixer threads, each of which ended the streams of its engine.
    pub panics: u64,
    pub streams: usize,
    pub rooms: usize,
    pub ports: Census,
}

/// What a mixer thread counts: a place in [`Counters`].
#[derive(Clone, Copy, Debug)]
pub enum Count {
    Ticks,
    Late,
    Skipped,
    PacketsIn,
    PacketsOut,
    RtcpIn,
    RtcpOut,
    Overflows,
    Unsent,
    LostEvents,
    Refused,
    Panics,
}

/// Shared by all threads.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Count::Panics as usize + 1]);

impl Counters {
    pub fn add(&self, count: Count, more: u64) {
        if more > 0 {
            self.0[count as usize].fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What was counted; of streams, rooms and ports the owner's handle knows.
    pub fn read(&self) -> Counts {
        let read = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        Counts {
            ticks: read(Count::Ticks),
            late: read(Count::Late),
            skipped: read(Count::Skipped),
            packets_in: read(Count::PacketsIn),
            packets_out: read(Count::PacketsOut),
            rtcp_in: read(Count::RtcpIn),
            rtcp_out: read(Count::RtcpOut),
            overflows: read(Count::Overflows),
            unsent: read(Count::Unsent),
            lost_events: read(Count::LostEvents),
            refused: read(Count::Refused),
            panics: read(Count::Panics),
            ..Counts::default()
        }
    }
}
