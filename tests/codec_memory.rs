//! No codec takes memory once it is made: every one, at every rate, with packets lost, broken and empty.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use tollbridge::media::codec::comfort::{Noise, PAYLOAD_MOST, Study};
use tollbridge::media::codec::{Decoder, Encoder, Settings};
use tollbridge::media::{Codec, Rate};

struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_codec_takes_memory() {
    let mut pairs = Vec::new();
    for codec in Codec::ALL {
        for rate in Rate::ALL {
            pairs.push((Encoder::new(codec, rate, Settings::default()), Decoder::new(codec, rate)));
        }
    }
    let (mut noise, mut study) = (Noise::new(3), Study::new(true));
    let (mut line, mut out) = ([0; 2_000], [0; 5_760]);
    let (mut heard, mut concealed, mut copied) = (0, 0, 0);
    let before = TAKEN.load(Ordering::Relaxed);
    // The library in C asks the system itself: what it takes is seen here.
    let system = in_use();
    for beat in 0..100_usize {
        for (encoder, decoder) in &mut pairs {
            let frame = encoder.rate().samples(20);
            let sound: [i16; 960] = std::array::from_fn(|i| ((i * beat * 37) as i16) >> 2);
            let octets = encoder.encode(&sound[..frame], &mut line);
            match beat % 7 {
                5 => concealed += decoder.conceal(&mut out[..frame]),
                6 => copied += decoder.fec(&line[..octets], &mut out[..frame]),
                4 => drop(decoder.decode(&line[..octets.min(3)], &mut out)),
                _ => heard += decoder.decode(&line[..octets.min(1_500)], &mut out).unwrap_or(0),
            }
            if beat == 50 {
                encoder.forget();
                decoder.forget();
            }
        }
        noise.describe(&[40, beat as u8]);
        noise.fill(&mut out[..160]);
        study.hear(&out[..160], 20, &mut [0; PAYLOAD_MOST]);
    }
    let taken = TAKEN.load(Ordering::Relaxed) - before;
    assert!(heard > 500_000 && concealed > 10_000 && copied > 1_000, "{heard} {concealed} {copied}");
    assert_eq!((taken, in_use()), (0, system), "allocations, octets in use");
}

/// Octets that the C library's allocator has given out.
fn in_use() -> usize {
    // SAFETY: a question without argument.
    unsafe { libc::mallinfo2() }.uordblks
}
