//! Between a mixer thread and the writer of recordings: one ring a track, and one counter of ticks a recording.
//!
//! The mixer's side waits for nothing: a push is 41 plain stores at 8 kHz and one release (measured: 40 ns, and 170 ns at
//! 48 kHz), no lock, no memory, no system call. `std::sync::mpsc::sync_channel` would copy the
//! largest block for the smallest tick, and its `try_send` may spin against the receiver; this needs no `unsafe` either.
//!
//! Each block says at which tick of the recording it stands. What did not fit, what was never pushed, and the time before
//! a track began are therefore all the same to the writer: a gap, filled with exactly that much silence.

use crate::media::TICK_MS;
use crate::media::codec::Rate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Samples of one tick at the highest rate.
pub(super) const TICK_MOST: usize = Rate::Full.samples(TICK_MS as usize);
/// A ring holds so much sound: the longest that a disk keeps the writer waiting without a gap in the track.
const HELD_MS: u64 = 3_000;
const SAMPLES_A_WORD: usize = 4;
/// The parts of a block's first word: where it stands, at which rate, and whether sound follows it.
const AT_BITS: u32 = 48;
const AT_MASK: u64 = (1 << AT_BITS) - 1;
const SOUND: u64 = 1 << (AT_BITS + 2);

/// The clock of a recording, in the hands of the mixer thread that ticks its room: it counts the ticks that are
/// recorded, and they are the recording's length.
#[derive(Debug)]
pub struct Reel {
    turned: u64,
    /// The tick that is recorded now.
    at: Option<u64>,
    is_paused: bool,
    shared: Arc<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    turned: AtomicU64,
    is_over: AtomicBool,
}

/// What the writer sees of a [`Reel`].
#[derive(Debug)]
pub(in crate::media) struct Counter(Arc<Turns>);

pub(in crate::media) fn reel() -> (Reel, Counter) {
    let shared = Arc::new(Turns::default());
    (Reel { turned: 0, at: None, is_paused: false, shared: shared.clone() }, Counter(shared))
}

impl Reel {
    /// Once a tick, before the taps are pushed.
    pub fn tick(&mut self) {
        self.at = (!self.is_paused).then_some(self.turned);
        if !self.is_paused {
            self.turned += 1;
            self.shared.turned.store(self.turned, Ordering::Release);
        }
    }

    /// From the next tick on; all tracks alike. A pause takes no time in the recording.
    pub fn pause(&mut self, on: bool) {
        self.is_paused = on;
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Ticks recorded so far.
    pub fn ticks(&self) -> u64 {
        self.turned
    }
}

impl Drop for Reel {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
    }
}

impl Counter {
    pub fn ticks(&self) -> u64 {
        self.0.turned.load(Ordering::Acquire)
    }

    /// Nothing will be recorded any more, and all that was is in the rings.
    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Ring {
    words: Box<[AtomicU64]>,
    /// Words ever written and ever read; their remainders are places.
    written: AtomicU64,
    read: AtomicU64,
    lost: AtomicU64,
    is_cut: AtomicBool,
}

impl Ring {
    /// The places from a word on, once round.
    fn places(&self, word: u64) -> impl Iterator<Item = &AtomicU64> {
        let (before, behind) = self.words.split_at((word % self.words.len() as u64) as usize);
        behind.iter().chain(before)
    }
}

/// One track, in the hands of the mixer thread.
#[derive(Debug)]
pub struct Tap {
    ring: Arc<Ring>,
    /// The same count as the ring's, which nobody else changes.
    written: u64,
    /// The first tick that has not been pushed.
    next: u64,
}

/// The writer's end of a [`Tap`].
#[derive(Debug)]
pub(in crate::media) struct Spout {
    ring: Arc<Ring>,
    read: u64,
}

/// A tick of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) struct Block {
    pub at: u64,
    pub rate: Rate,
    /// How many samples were filled; none is a tick of silence.
    pub samples: usize,
}

/// A ring for sound of up to `rate`. Louder rates fit too, for less time.
pub(in crate::media) fn ring(rate: Rate) -> (Tap, Spout) {
    let words = (HELD_MS / TICK_MS) as usize * (1 + rate.samples(TICK_MS as usize) / SAMPLES_A_WORD);
    let ring = Arc::new(Ring {
        words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        is_cut: AtomicBool::new(false),
    });
    (Tap { ring: ring.clone(), written: 0, next: 0 }, Spout { ring, read: 0 })
}

impl Tap {
    /// The sound of this tick: a whole tick at `rate`, or nothing at all for silence. At most once a tick; what comes
    /// while the reel stands still is not recorded.
    pub fn push(&mut self, reel: &Reel, rate: Rate, samples: &[i16]) {
        let Some(at) = reel.at.filter(|at| *at >= self.next) else { return };
        if self.is_cut() {
            return;
        }
        self.next = at + 1;
        let is_whole = samples.len() == rate.samples(TICK_MS as usize);
        let samples = if is_whole { samples } else { &[] };
        let words = 1 + (samples.len() / SAMPLES_A_WORD) as u64;
        let waiting = self.written - self.ring.read.load(Ordering::Acquire);
        if waiting + words > self.ring.words.len() as u64 {
            self.ring.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let sound = if samples.is_empty() { 0 } else { SOUND };
        let head = at & AT_MASK | (rate as u64) << AT_BITS | sound;
        let sound = samples.chunks_exact(SAMPLES_A_WORD).map(packed);
        let places = self.ring.places(self.written);
        std::iter::once(head).chain(sound).zip(places).for_each(|(word, place)| place.store(word, Ordering::Relaxed));
        self.written += words;
        self.ring.written.store(self.written, Ordering::Release);
    }

    /// The recording has ended: nobody reads any more.
    pub fn is_cut(&self) -> bool {
        self.ring.is_cut.load(Ordering::Relaxed)
    }
}

impl Spout {
    /// The next tick that was pushed.
    pub fn pop(&mut self, sound: &mut [i16; TICK_MOST]) -> Option<Block> {
        if self.ring.written.load(Ordering::Acquire) == self.read {
            return None;
        }
        let mut places = self.ring.places(self.read).map(|place| place.load(Ordering::Relaxed));
        let head = places.next()?;
        let rate = Rate::ALL[(head >> AT_BITS & 3) as usize];
        let samples = if head & SOUND == 0 { 0 } else { rate.samples(TICK_MS as usize) };
        let fours = sound[..samples].chunks_exact_mut(SAMPLES_A_WORD);
        fours.zip(places).for_each(|(four, word)| four.copy_from_slice(&unpacked(word)));
        self.read += 1 + (samples / SAMPLES_A_WORD) as u64;
        self.ring.read.store(self.read, Ordering::Release);
        Some(Block { at: head & AT_MASK, rate, samples })
    }

    /// Ticks that did not fit so far.
    pub fn lost(&self) -> u64 {
        self.ring.lost.load(Ordering::Relaxed)
    }
}

fn packed(four: &[i16]) -> u64 {
    four.iter().rev().fold(0, |word, sample| word << 16 | u64::from(*sample as u16))
}

fn unpacked(word: u64) -> [i16; SAMPLES_A_WORD] {
    [0, 16, 32, 48].map(|shift| (word >> shift) as i16)
}

impl Drop for Spout {
    fn drop(&mut self) {
        self.ring.is_cut.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(rate: Rate, seed: u64) -> Vec<i16> {
        (0..rate.samples(20)).map(|i| (i as u64 * 7_919 + seed * 104_729) as i16).collect()
    }

    #[test]
    fn what_is_pushed_comes_out_at_its_tick_whatever_its_rate() {
        let ((mut reel, counter), (mut tap, mut spout)) = (reel(), ring(Rate::Narrow));
        let mut heard = [0; TICK_MOST];
        for at in 0..1_000 {
            let rate = Rate::ALL[at as usize % 4];
            reel.tick();
            tap.push(&reel, rate, &sound(rate, at));
            tap.push(&reel, rate, &sound(rate, at + 1));
            assert_eq!(spout.pop(&mut heard), Some(Block { at, rate, samples: rate.samples(20) }));
            assert_eq!(heard[..rate.samples(20)], sound(rate, at));
            assert_eq!(spout.pop(&mut heard), None, "once a tick");
        }
        assert_eq!((counter.ticks(), spout.lost()), (1_000, 0));
        assert!(!counter.is_over());
        drop(reel);
        assert!(counter.is_over());
    }

    #[test]
    fn a_full_ring_loses_whole_ticks_and_says_so() {
        let ((mut reel, _counter), (mut tap, mut spout)) = (reel(), ring(Rate::Wide));
        let (mut heard, most) = ([0; TICK_MOST], HELD_MS / TICK_MS);
        for at in 0..most + 5 {
            reel.tick();
            tap.push(&reel, Rate::Wide, &sound(Rate::Wide, at));
        }
        assert_eq!(spout.lost(), 5);
        let kept = std::iter::from_fn(|| spout.pop(&mut heard)).map(|block| block.at);
        assert!(kept.eq(0..most));
        reel.tick();
        tap.push(&reel, Rate::Wide, &[]);
        assert_eq!(spout.pop(&mut heard), Some(Block { at: most + 5, rate: Rate::Wide, samples: 0 }));
    }

    #[test]
    fn a_pause_takes_no_time() {
        let ((mut reel, counter), (mut tap, mut spout)) = (reel(), ring(Rate::Narrow));
        let mut heard = [0; TICK_MOST];
        for step in 0..30 {
            reel.pause((10..20).contains(&step));
            reel.tick();
            tap.push(&reel, Rate::Narrow, &sound(Rate::Narrow, step));
        }
        assert_eq!(counter.ticks(), 20);
        assert!(std::iter::from_fn(|| spout.pop(&mut heard)).map(|block| block.at).eq(0..20));
    }

    #[test]
    fn two_threads_share_a_ring() {
        let ((mut reel, counter), (mut tap, mut spout)) = (reel(), ring(Rate::Narrow));
        let mixer = std::thread::spawn(move || {
            for at in 0..20_000 {
                reel.tick();
                tap.push(&reel, Rate::Narrow, &sound(Rate::Narrow, at));
            }
        });
        let (mut heard, mut last, mut count) = ([0; TICK_MOST], None, 0);
        loop {
            let is_over = counter.is_over();
            while let Some(block) = spout.pop(&mut heard) {
                assert!(last < Some(block.at));
                assert_eq!(heard[..160], sound(Rate::Narrow, block.at));
                (last, count) = (Some(block.at), count + 1);
            }
            if is_over {
                break;
            }
        }
        mixer.join().unwrap();
        assert_eq!(count + spout.lost(), 20_000);
    }
}
