//! Whether a prompt was heard: a stretch of it is looked for in what came, by correlation, whatever its loudness.

use crate::cli::sound::{FRAME, RATE_HZ};
use std::cmp::Reverse;
use std::time::Duration;

/// A prompt is known by any of its loudest stretches of a quarter of a second: where a packet comes late, a jitter buffer
/// puts 20 ms in, and a stretch that is torn so is like itself by 0.5 to 0.9. The others are whole …
const STRETCH: usize = RATE_HZ / 4;
const STRETCHES: usize = 3;
/// … but none that is much softer: voices are alike where they say little …
const SOFTEST: i64 = 4;
/// … of its first or last second: it may be cut short by a key, or begin like another …
const SECOND: usize = RATE_HZ;
/// … where it correlates better than this. The same voice saying other words comes up to 0.8.
const ALIKE: f64 = 0.85;
/// Looked for first at a quarter of the rate, where voices have nearly all their power; then, around so many of the
/// best places, exactly. It has to keep up with several calls on a small machine.
const COARSE: usize = 4;
const PLACES: usize = 8;

/// Which part of a prompt must be heard.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Beginning,
    /// And its end is waited for: while it lasts, others sound softer.
    End,
}

/// The loudest stretches of a prompt's first or last second, none over another, and how long the prompt goes on after
/// the earliest of them.
pub(super) fn loudest(samples: &[i16], part: Part) -> (Vec<Vec<i16>>, Duration) {
    let from = match part {
        Part::Beginning => 0,
        Part::End => samples.len().saturating_sub(SECOND),
    };
    let second = &samples[from..samples.len().min(from + SECOND)];
    let length = STRETCH.min(second.len());
    let of = |at: usize| &second[at..at + length];
    let mut starts: Vec<usize> = (0..=second.len() - length).step_by(FRAME).collect();
    starts.sort_by_key(|at| Reverse(power(of(*at))));
    let mut chosen: Vec<usize> = Vec::new();
    for at in starts {
        let apart = chosen.iter().all(|other| at.abs_diff(*other) >= length.max(1));
        let loud = chosen.first().is_none_or(|first| power(of(at)) >= power(of(*first)) / SOFTEST);
        if apart && loud && chosen.len() < STRETCHES {
            chosen.push(at);
        }
    }
    let rest = samples.len() - from - chosen.iter().min().map_or(0, |at| at + length);
    let stretches = chosen.iter().map(|at| of(*at).to_vec()).collect();
    (stretches, Duration::from_micros(rest as u64 * 1_000_000 / RATE_HZ as u64))
}

/// Whether one of the stretches of a prompt is somewhere in a longer sound.
pub(super) fn is_in(stretches: &[Vec<i16>], within: &[i16]) -> bool {
    stretches.iter().any(|stretch| likeness(stretch, within) > ALIKE)
}

/// The highest normalised correlation: 1 where the stretch is there untouched.
fn likeness(stretch: &[i16], within: &[i16]) -> f64 {
    let coarse = correlations(&thinned(stretch), &thinned(within));
    let mut peaks: Vec<usize> = (0..coarse.len()).filter(|at| is_peak(&coarse, *at)).collect();
    peaks.sort_by(|a, b| coarse[*b].total_cmp(&coarse[*a]));
    let exact = peaks.into_iter().take(PLACES).flat_map(|peak| {
        let from = (peak * COARSE).saturating_sub(COARSE);
        let to = (peak * COARSE + COARSE + stretch.len()).min(within.len());
        correlations(stretch, &within[from..to])
    });
    exact.fold(0.0, f64::max)
}

fn is_peak(values: &[f64], at: usize) -> bool {
    let beside = [at.checked_sub(1), Some(at + 1)];
    beside.into_iter().flatten().all(|other| values.get(other).is_none_or(|value| *value <= values[at]))
}

/// The mean of each few samples.
fn thinned(samples: &[i16]) -> Vec<i16> {
    let mean = |few: &[i16]| (few.iter().map(|sample| i32::from(*sample)).sum::<i32>() / COARSE as i32) as i16;
    samples.chunks_exact(COARSE).map(mean).collect()
}

/// The normalised correlation of a stretch with each place where it fits; none where it fits nowhere.
fn correlations(stretch: &[i16], within: &[i16]) -> Vec<f64> {
    let length = stretch.len();
    if length == 0 || within.len() < length {
        return Vec::new();
    }
    let own = power(stretch) as f64;
    let mut energy = power(&within[..length]);
    let mut found = Vec::with_capacity(within.len() - length + 1);
    for at in 0..=within.len() - length {
        let norm = (own * energy as f64).sqrt();
        found.push(if norm > 0.0 { product(stretch, &within[at..]) as f64 / norm } else { 0.0 });
        if let Some(next) = within.get(at + length) {
            energy += power(&[*next]) - power(&[within[at]]);
        }
    }
    found
}

fn product(a: &[i16], b: &[i16]) -> i64 {
    a.iter().zip(b).map(|(a, b)| i64::from(i32::from(*a) * i32::from(*b))).sum()
}

fn power(samples: &[i16]) -> i64 {
    product(samples, samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting::Prompt;
    use crate::switchboard::sound::Sounds;

    #[test]
    fn a_prompt_is_known_softly_and_is_not_taken_for_another() {
        use Part::{Beginning, End};
        use Prompt::{CreditFiveMinutes, CreditOneMinute, CreditTenSeconds, EnterPin, InvalidId, Muted, MutedReminder};
        let sounds = Sounds::embedded().unwrap_or_else(|faults| panic!("{faults:?}"));
        for (looked_for, part, other, language) in [
            (InvalidId, Beginning, EnterPin, "en"),
            (EnterPin, Beginning, InvalidId, "en"),
            (MutedReminder, End, Muted, "en"),
            (CreditTenSeconds, End, CreditOneMinute, "en"),
            (CreditTenSeconds, End, CreditFiveMinutes, "en"),
            (Prompt::Welcome, Beginning, Prompt::OrganiserOrWait, "it"),
            (Prompt::Music, Beginning, Prompt::WaitingToBeAdmitted, "it"),
            (Prompt::Music, Beginning, Prompt::WaitingToBeAdmitted, "en"),
        ] {
            let clip = |prompt| sounds.clips(&[prompt], language.parse().unwrap())[0].samples().to_vec();
            let (stretches, _) = loudest(&clip(looked_for), part);
            // Softer, off the grid, and after something else.
            let mut heard = clip(other);
            heard.truncate(2 * SECOND + 3);
            assert!(!is_in(&stretches, &clip(other)), "{looked_for:?} is heard in {other:?}");
            heard.extend(stretches[0].iter().map(|sample| sample / 5));
            assert!(is_in(&stretches, &heard), "{looked_for:?} is not heard after {other:?}");
        }
    }

    /// What a jitter buffer does where a packet is late (20 ms of nothing more) or too many lie there (20 ms less).
    #[test]
    fn a_prompt_is_known_where_a_packet_came_late() {
        let sounds = Sounds::embedded().unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut clip = sounds.clips(&[Prompt::StillThere], "en".parse().unwrap())[0].samples().to_vec();
        clip.truncate(SECOND);
        let (stretches, _) = loudest(&clip, Part::Beginning);
        let mut torn = 0;
        for at in (0..SECOND - FRAME).step_by(2 * FRAME) {
            let (before, after) = clip.split_at(at);
            let late = [before, &[0; FRAME], after].concat();
            let fewer = [before, &after[FRAME..]].concat();
            for heard in [late, fewer] {
                torn += usize::from(!is_in(&stretches[..1], &heard));
                assert!(is_in(&stretches, &heard), "not known with a packet late at {at}");
            }
        }
        assert!(torn > 0, "one stretch alone would not do");
    }

    #[test]
    fn nothing_is_in_nothing() {
        for (stretch, within) in [(vec![], vec![1; 900]), (vec![1; 900], vec![]), (vec![0; 80], vec![0; 800])] {
            assert!(!is_in(&[stretch], &within));
        }
        assert_eq!(loudest(&[], Part::End), (vec![vec![]], Duration::ZERO));
        assert_eq!(loudest(&[5; 40], Part::Beginning).0, [vec![5; 40]]);
    }

    #[test]
    fn what_comes_after_the_stretch_is_its_rest() {
        let mut samples = vec![0; 3 * SECOND];
        samples[2 * SECOND..2 * SECOND + STRETCH].fill(1_000);
        let (stretches, rest) = loudest(&samples, Part::End);
        assert_eq!((&stretches[0], rest), (&vec![1_000; STRETCH], Duration::from_millis(750)));
    }
}
