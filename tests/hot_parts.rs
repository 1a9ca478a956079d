//! What stands beside the mixer on its thread takes no memory either: secrecy, reports, figures, keys in the sound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;
use tollbridge::clock::{Mono, Now, Wall};
use tollbridge::media::codec::tone::Detector;
use tollbridge::media::rtp::press::{Presses, Source};
use tollbridge::media::rtp::quality::{Bursts, Impairment, Measured, Quality};
use tollbridge::media::rtp::report::{Heard, Inbound, LENGTH_MOST, Outbound, Reporter};
use tollbridge::media::rtp::srtp::{GROWTH_MOST, Keying, Opener, Protector, Suite};

struct Counting;

thread_local! {
    /// Of this thread alone: whoever runs the tests has memory of their own to see to meanwhile.
    static TOUCHED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TOUCHED.set(TOUCHED.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        TOUCHED.set(TOUCHED.get() + 1);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PACKET: usize = 172;

fn packet(sequence: u16) -> [u8; PACKET + GROWTH_MOST] {
    let mut packet = [0x55; PACKET + GROWTH_MOST];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

/// Two ends of one call.
struct Call {
    protector: Protector,
    opener: Opener,
    near: Reporter,
    far: Reporter,
    bursts: Bursts,
    detector: Detector,
    presses: Presses,
}

impl Call {
    fn new(suite: Suite) -> Call {
        let keying = Keying::new(suite, &[7; 30][..suite.keying_octets()]).expect("as many octets as it wants");
        let reporter = |ssrc| Reporter::new(Mono::default(), ssrc, "name", true, 1);
        Call {
            protector: Protector::new(&keying),
            opener: Opener::new(&keying),
            near: reporter(0x5555_5555),
            far: reporter(9),
            bursts: Bursts::default(),
            detector: Detector::new(8_000),
            presses: Presses::default(),
        }
    }

    fn tick(&mut self, beat: u64) {
        let now = Now { mono: Mono::from_millis(beat * 20), wall: Wall::from_seconds(1_800_000_000) };
        let mut packet = packet(beat as u16);
        let length = self.protector.protect(&mut packet, PACKET).expect("a number not used before");
        let mut forged = packet;
        forged[100] ^= 1;
        assert!(self.opener.open(&mut forged[..length]).is_err());
        if beat.is_multiple_of(9) {
            self.bursts.missing();
        } else {
            assert_eq!(self.opener.open(&mut packet[..length]), Ok(PACKET));
            self.bursts.played();
        }
        let tone = |i: usize| {
            let i = (beat as usize * 160 + i) as f32 * std::f32::consts::TAU / 8_000.0;
            (6_000.0 * (770.0 * i).sin() + 6_000.0 * (1_336.0 * i).sin()) as i16
        };
        let sound: [i16; 160] = std::array::from_fn(tone);
        if let Some(key) = self.detector.tick(&sound) {
            black_box(self.presses.handle(now.mono, Source::Tone, key));
        }
        if self.near.is_due(now.mono) {
            self.report(now, beat);
        }
    }

    fn report(&mut self, now: Now, beat: u64) {
        let measured = Measured {
            codec: Impairment::G711,
            expected: beat,
            received: beat,
            late: 0,
            clusters: self.bursts.clusters(),
            step_ms: 20,
            jitter_us: 100,
            round_trip: Some(Duration::from_millis(30)),
            buffer_ms: 20,
            buffer_most_ms: 150,
            far_delay_ms: None,
        };
        let voip = Quality::of(&measured).voip(9);
        let outbound = Outbound { packets: beat, octets: beat * 160, timestamp: beat as u32 * 160 };
        let inbound = Inbound { ssrc: Some(9), expected: beat, received: beat, highest: beat as u32, jitter: 1 };
        let mut buffer = [0; LENGTH_MOST + GROWTH_MOST];
        let length = self.near.write(now, &outbound, &inbound, Some(&voip), &mut buffer).expect("it fits");
        let secret = self.protector.protect_rtcp(&mut buffer, length).expect("the same source");
        assert_eq!(self.opener.open_rtcp(&mut buffer[..secret]), Ok(length));
        assert_eq!(self.far.handle(now.mono, &buffer[..length]), Heard::Report);
    }
}

#[test]
fn a_minute_of_calls_takes_no_memory() {
    for suite in Suite::ALL {
        let mut call = Call::new(suite);
        call.tick(0);
        let before = TOUCHED.get();
        (1..3_000).for_each(|beat| call.tick(beat));
        assert_eq!(TOUCHED.get() - before, 0, "{suite:?}");
        assert!(call.far.remote().voip.is_some());
    }
}
