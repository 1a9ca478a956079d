//! How good one leg sounds, as figures for usage records, metrics and RTCP-XR: what is missing, how it clusters, and what
//! an average listener would say of it by the E-model (ITU-T G.107).
//!
//! The E-model plans networks; of one call it says which of two was better rather than what this caller felt.

use super::rtcp::{UNKNOWN, Voip};
use crate::media::{Codec, Rate};
use std::time::Duration;

/// What a codec does to speech (ITU-T G.113 appendices I and IV), with concealment as we have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Ie: on the scale of its band, without loss.
    pub equipment: f32,
    /// Bpl: how much loss it bears.
    pub robustness: f32,
    /// 50 to 7,000 Hz: rated on the wideband scale (G.107.1), whose best is 129 and not 93.2.
    pub wide: bool,
}

impl Impairment {
    pub const fn of(codec: Codec) -> Impairment {
        match codec {
            Codec::Pcmu | Codec::Pcma | Codec::L16(Rate::Narrow) => Impairment::G711,
            Codec::L16(_) => Impairment { wide: true, ..Impairment::G711 },
            Codec::G722 => Impairment::G722,
            Codec::Opus => Impairment::OPUS,
        }
    }

    /// G.711 and L16 at 8 kHz, losses concealed (G.113 appendix I: 25.1; without concealment it were 4.3).
    pub const G711: Impairment = Impairment { equipment: 0.0, robustness: 25.1, wide: false };
    /// 64 kbit/s (G.113 appendix IV: 13). Of its robustness it says nothing for concealment like ours: our estimate.
    pub const G722: Impairment = Impairment { equipment: 13.0, robustness: 15.0, wide: true };
    /// G.113 does not know it. Our estimate, from published listening tests at 24 kbit/s and more, with concealment.
    pub const OPUS: Impairment = Impairment { equipment: 5.0, robustness: 20.0, wide: true };

    /// The loss of `missing` (0 to 1), of which the mean run is `burst_ratio` times that of random loss (G.107 section
    /// 7.5).
    fn effective(&self, missing: f32, burst_ratio: f32) -> f32 {
        let percent = 100.0 * missing.clamp(0.0, 1.0);
        let share = percent / (percent / burst_ratio.max(1.0) + self.robustness);
        self.equipment + (95.0 - self.equipment) * share
    }
}

/// What an average listener says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// 0 to 100, of the best that the band allows.
    pub r: f32,
    /// Mean opinion, 1 to 4.5.
    pub mos: f32,
}

/// The best rating: G.107's with all else at its default, and G.107.1's.
const BEST: f32 = 93.2;
const BEST_WIDE: f32 = 129.0;

/// The E-model. `missing` is the share (0 to 1) of sound that was made up, `delay_ms` from mouth to ear.
pub fn rate(codec: &Impairment, missing: f32, burst_ratio: f32, delay_ms: f32) -> Rating {
    let (best, scale) = if codec.wide { (BEST_WIDE, BEST_WIDE / 100.0) } else { (BEST, 1.0) };
    let r = (best - delay_impairment(delay_ms) - codec.effective(missing, burst_ratio)) / scale;
    let r = r.clamp(0.0, 100.0);
    Rating { r, mos: opinion(r) }
}

/// G.107 annex B. Its curve dips below 1 for the very worst.
fn opinion(r: f32) -> f32 {
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// Id of G.107 section 7.4 with the default echo losses (TELR 65 dB, WEPL 110 dB): talker's echo, listener's echo (whose
/// way is twice as long), and waiting itself.
fn delay_impairment(delay_ms: f32) -> f32 {
    let delay = delay_ms.clamp(0.0, 10_000.0);
    // Ro with the default noise, and Roe = -1.5 (No - RLR).
    const RO: f32 = 94.77;
    let telr =
        65.0 - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10() + 6.0 * (-0.3 * delay * delay).exp();
    let talker = (RO - (80.0 + 2.5 * (telr - 14.0))) / 2.0;
    let talker = (talker + (talker * talker + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp());
    let listener = (RO - 10.5 * 117.0 * (2.0 * delay + 1.0).powf(-0.25)) / 2.0;
    let listener = listener + (listener * listener + 169.0).sqrt();
    let listener_at_rest = (RO - 10.5 * 117.0) / 2.0;
    let listener = listener - (listener_at_rest + (listener_at_rest * listener_at_rest + 169.0).sqrt());
    talker + listener + waiting(delay)
}

/// Nothing up to 100 ms.
fn waiting(delay: f32) -> f32 {
    if delay <= 100.0 {
        return 0.0;
    }
    let x = (delay / 100.0).log2();
    let root = |x: f32| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// How what is missing clusters (RFC 3611 appendix A.2): fed with each step of sound, in order, as it is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bursts {
    played: u64,
    missing: u64,
    /// Times that sound ceased to come.
    runs: u64,
    /// Steps since the last one that was missing.
    since: u64,
    /// Missing steps of the burst that goes on.
    open: u64,
    /// The transitions of the appendix, by its names: within a gap, out of a burst, a lone one, within a burst.
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
}

/// What [`Bursts`] found. Shares are 0 to 1; lengths are in steps, means over all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clusters {
    pub missing: f32,
    /// Share missing within bursts, and between them.
    pub burst_density: f32,
    pub gap_density: f32,
    pub burst_steps: f32,
    pub gap_steps: f32,
    /// The mean run of missing steps against that of random loss of the same share (G.107: BurstR).
    pub burst_ratio: f32,
}

impl Bursts {
    /// A step was played as it came.
    pub fn played(&mut self) {
        self.played += 1;
        self.since += 1;
    }

    /// A step was made up: lost on the way, or too late.
    pub fn missing(&mut self) {
        self.missing += 1;
        self.runs += u64::from(self.since > 0 || self.missing == 1);
        if self.since >= u64::from(Voip::GAP_LEAST) || self.open == 0 {
            self.close();
            self.open = 1;
        } else {
            self.open += 1;
            match self.since {
                0 => self.c33 += 1,
                since => {
                    self.c23 += 1;
                    self.c22 += since - 1;
                }
            }
        }
        self.since = 0;
    }

    /// What came since belongs to a gap; what was before is a lone loss or a burst.
    fn close(&mut self) {
        match self.open {
            0 => {}
            1 => self.c14 += 1,
            _ => self.c13 += 1,
        }
        self.c11 += self.since;
    }

    fn closed(mut self) -> Bursts {
        self.close();
        self
    }

    fn less(&self, past: &Bursts) -> Bursts {
        let less = |of: fn(&Bursts) -> u64| of(self).saturating_sub(of(past));
        Bursts {
            played: less(|own| own.played),
            missing: less(|own| own.missing),
            runs: less(|own| own.runs),
            c11: less(|own| own.c11),
            c13: less(|own| own.c13),
            c14: less(|own| own.c14),
            c22: less(|own| own.c22),
            c23: less(|own| own.c23),
            c33: less(|own| own.c33),
            ..Bursts::default()
        }
    }

    pub fn clusters(&self) -> Clusters {
        self.clusters_after(&Bursts::default())
    }

    /// Of the steps that came after `past`. A burst that lies across that moment is counted to what comes after it.
    pub fn clusters_after(&self, past: &Bursts) -> Clusters {
        let all = self.closed().less(&past.closed());
        let steps = all.played + all.missing;
        if steps == 0 {
            return Clusters { burst_ratio: 1.0, ..Clusters::default() };
        }
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f32 / whole as f32 };
        let missing = share(all.missing, steps);
        let mean_run = share(all.missing, all.runs);
        // Out of a burst it goes as often as into one (the appendix: c31 = c13, c32 = c23).
        let p32 = share(all.c23, all.c13 + all.c23 + all.c33);
        let p23 = if all.c22 + all.c23 == 0 { 1.0 } else { 1.0 - share(all.c22, all.c22 + all.c23) };
        let gaps = all.c11 + all.c14 + all.c13;
        let bursts = all.c22 + 2 * all.c23 + all.c13 + all.c33;
        Clusters {
            missing,
            burst_density: if all.c13 == 0 { 0.0 } else { p23 / (p23 + p32) },
            gap_density: share(all.c14, all.c11 + all.c14),
            burst_steps: share(bursts, all.c13),
            gap_steps: if all.c13 == 0 { steps as f32 } else { share(gaps, all.c13) },
            burst_ratio: (mean_run * (1.0 - missing)).max(1.0),
        }
    }
}

/// What a leg's figures are made of.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub codec: Impairment,
    /// Packets that should have come, and came (without repeats).
    pub expected: u64,
    pub received: u64,
    /// Packets that came after their moment.
    pub late: u64,
    pub clusters: Clusters,
    /// Milliseconds of one step of the clusters.
    pub step_ms: u32,
    pub jitter_us: u32,
    pub round_trip: Option<Duration>,
    /// Sound that lies in the jitter buffer, and the most that it may hold.
    pub buffer_ms: u16,
    pub buffer_most_ms: u16,
    /// Delay of the far end, where it told of it (RFC 3611: end system delay).
    pub far_delay_ms: Option<u16>,
}

/// One leg's quality until now, in whole numbers for records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Packets that never came, and those thrown away because they came too late: before the jitter buffer.
    pub lost_ppm: u32,
    pub late_ppm: u32,
    /// Sound that was made up: after the jitter buffer.
    pub missing_ppm: u32,
    pub burst_density_ppm: u32,
    pub gap_density_ppm: u32,
    pub burst_ms: u32,
    pub gap_ms: u32,
    pub jitter_us: u32,
    pub round_trip_ms: Option<u32>,
    /// From their mouth to the mix, as far as it is known: half the round trip, their end if they told, ours.
    pub delay_ms: u32,
    pub r_tenths: u16,
    /// How it sounds to one who listens, and to one who talks (delay counts).
    pub mos_lq_hundredths: u16,
    pub mos_cq_hundredths: u16,
    pub buffer_ms: u16,
    pub buffer_most_ms: u16,
}

/// Delay that this end adds beside the jitter buffer: a packet of 20 ms gathered there, and the beat of the mixer.
const OWN_DELAY_MS: u32 = 40;

impl Quality {
    pub fn of(measured: &Measured) -> Quality {
        let Measured { clusters, .. } = measured;
        let round_trip_ms = measured.round_trip.map(|trip| trip.as_millis().min(u128::from(u32::MAX)) as u32);
        let ends = OWN_DELAY_MS + u32::from(measured.buffer_ms) + u32::from(measured.far_delay_ms.unwrap_or(0));
        let delay_ms = ends + round_trip_ms.unwrap_or(0) / 2;
        let heard = rate(&measured.codec, clusters.missing, clusters.burst_ratio, 0.0);
        let talked = rate(&measured.codec, clusters.missing, clusters.burst_ratio, delay_ms as f32);
        let of_expected = |part: u64| if measured.expected == 0 { 0.0 } else { part as f32 / measured.expected as f32 };
        Quality {
            lost_ppm: ppm(of_expected(measured.expected.saturating_sub(measured.received))),
            late_ppm: ppm(of_expected(measured.late)),
            missing_ppm: ppm(clusters.missing),
            burst_density_ppm: ppm(clusters.burst_density),
            gap_density_ppm: ppm(clusters.gap_density),
            burst_ms: (clusters.burst_steps * measured.step_ms as f32) as u32,
            gap_ms: (clusters.gap_steps * measured.step_ms as f32) as u32,
            jitter_us: measured.jitter_us,
            round_trip_ms,
            delay_ms,
            r_tenths: (talked.r * 10.0).round() as u16,
            mos_lq_hundredths: (heard.mos * 100.0).round() as u16,
            mos_cq_hundredths: (talked.mos * 100.0).round() as u16,
            buffer_ms: measured.buffer_ms,
            buffer_most_ms: measured.buffer_most_ms,
        }
    }

    /// As RTCP-XR tells it about the source `ssrc` (RFC 3611 section 4.7).
    pub fn voip(&self, ssrc: u32) -> Voip {
        let of_256 = |ppm: u32| (u64::from(ppm) * 256 / 1_000_000).min(255) as u8;
        let short = |millis: u32| millis.min(0xffff) as u16;
        Voip {
            ssrc,
            loss: of_256(self.lost_ppm),
            discard: of_256(self.late_ppm),
            burst_density: of_256(self.burst_density_ppm),
            gap_density: of_256(self.gap_density_ppm),
            burst_ms: short(self.burst_ms),
            gap_ms: short(self.gap_ms),
            round_trip_ms: short(self.round_trip_ms.unwrap_or(0)),
            end_delay_ms: short(OWN_DELAY_MS + u32::from(self.buffer_ms)),
            r_factor: (self.r_tenths / 10).min(100) as u8,
            mos_lq: tenths(self.mos_lq_hundredths),
            mos_cq: tenths(self.mos_cq_hundredths),
            buffer_ms: self.buffer_ms,
            buffer_most_ms: self.buffer_most_ms,
        }
    }
}

fn ppm(share: f32) -> u32 {
    (share.clamp(0.0, 1.0) * 1_000_000.0).round() as u32
}

/// 10 to 50, else it is not known (RFC 3611 section 4.7.5).
fn tenths(hundredths: u16) -> u8 {
    if (100..=500).contains(&hundredths) { (hundredths / 10) as u8 } else { UNKNOWN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Between two legs: what each heard is as if the other had not been.
    #[test]
    fn clusters_after_a_moment_are_of_what_came_after_it() {
        let feed = |bursts: &mut Bursts, pattern: &str| {
            for step in pattern.chars() {
                if step == 'x' { bursts.missing() } else { bursts.played() }
            }
        };
        let (gap, good) = (".".repeat(20), ".".repeat(300));
        let patterns = [
            good.clone(),
            format!("{gap}x{gap}x{gap}"),
            format!("{gap}xx.xxx..x{good}xx{gap}x{gap}x.x{gap}"),
            format!("{gap}{}{gap}", "x".repeat(40)),
        ];
        for first in &patterns {
            for then in &patterns {
                let (mut whole, mut alone) = (Bursts::default(), Bursts::default());
                feed(&mut whole, first);
                let past = whole;
                feed(&mut whole, then);
                feed(&mut alone, then);
                assert_eq!(whole.clusters_after(&past), alone.clusters(), "{first} then {then}");
            }
        }
        // Across it, and where nothing came: no share is more than all.
        let mut bursts = Bursts::default();
        feed(&mut bursts, "....xx.x");
        let past = bursts;
        assert_eq!(bursts.clusters_after(&past), Bursts::default().clusters());
        feed(&mut bursts, "x.x....");
        let clusters = bursts.clusters_after(&past);
        assert!((clusters.missing - 2.0 / 7.0).abs() < 1e-6, "{clusters:?}");
        assert!(clusters.burst_density <= 1.0 && clusters.gap_density <= 1.0, "{clusters:?}");
    }

    /// The curve of G.107 annex B, and its user satisfaction table.
    #[test]
    fn opinions_follow_the_curve() {
        for (r, mos) in [
            (100.0, 4.5),
            (93.2, 4.41),
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
            (0.0, 1.0),
        ] {
            assert!((opinion(r) - mos).abs() < 0.01, "{r}: {}", opinion(r));
        }
    }

    /// Loss and delay of G.711, against values worked out by hand from G.107 sections 7.4 and 7.5.
    #[test]
    fn ratings_of_the_table() {
        let bare = Impairment { robustness: 4.3, ..Impairment::G711 };
        let table = [
            (Impairment::G711, 0.0, 1.0, 0.0, 93.2, 4.41),
            (Impairment::G711, 0.01, 1.0, 0.0, 89.6, 4.33),
            (Impairment::G711, 0.02, 1.0, 0.0, 86.2, 4.24),
            (Impairment::G711, 0.05, 1.0, 0.0, 77.4, 3.93),
            (Impairment::G711, 0.05, 2.0, 0.0, 76.0, 3.87),
            (bare, 0.02, 1.0, 0.0, 63.0, 3.25),
            (bare, 0.05, 1.0, 0.0, 42.1, 2.17),
            (Impairment::G711, 0.0, 1.0, 100.0, 90.7, 4.35),
            (Impairment::G711, 0.0, 1.0, 150.0, 89.5, 4.33),
            (Impairment::G711, 0.0, 1.0, 300.0, 72.8, 3.73),
            (Impairment::G711, 0.0, 1.0, 400.0, 62.2, 3.21),
            (Impairment::G722, 0.0, 1.0, 0.0, 89.9, 4.34),
            (Impairment::OPUS, 0.0, 1.0, 0.0, 96.1, 4.46),
            (Impairment::G711, 1.0, 1.0, 2_000.0, 0.0, 1.0),
        ];
        for (codec, missing, burst_ratio, delay_ms, r, mos) in table {
            let rating = rate(&codec, missing, burst_ratio, delay_ms);
            assert!((rating.r - r).abs() < 0.6, "{missing} {delay_ms}: {rating:?}, expected {r}");
            assert!((rating.mos - mos).abs() < 0.03, "{missing} {delay_ms}: {rating:?}, expected {mos}");
        }
    }

    /// `.` played, `x` missing.
    fn clusters(pattern: &str) -> Clusters {
        let mut bursts = Bursts::default();
        pattern.chars().for_each(|step| if step == '.' { bursts.played() } else { bursts.missing() });
        bursts.clusters()
    }

    #[test]
    fn bursts_and_gaps() {
        let quiet = ".".repeat(100);
        let near = |a: f32, b: f32| (a - b).abs() < 0.002;
        let none = clusters(&quiet);
        assert_eq!((none.missing, none.burst_density, none.burst_steps, none.gap_steps), (0.0, 0.0, 0.0, 100.0));

        // Lone losses, far apart, are no burst.
        let lone = clusters(&format!("{quiet}x{quiet}x{quiet}"));
        assert!(
            near(lone.gap_density, 2.0 / 302.0) && lone.burst_density == 0.0 && lone.burst_steps == 0.0,
            "{lone:?}"
        );
        assert_eq!(lone.burst_ratio, 1.0);

        // One burst of 10 in a row.
        let row = clusters(&format!("{quiet}xxxxxxxxxx{quiet}"));
        assert!(near(row.burst_density, 1.0) && near(row.burst_steps, 10.0) && near(row.gap_steps, 201.0), "{row:?}");
        assert!(row.burst_ratio > 9.0);

        // Every second one missing for a while.
        let comb = clusters(&format!("{quiet}x.x.x.x.x.x{quiet}"));
        assert!((0.4..0.6).contains(&comb.burst_density) && near(comb.burst_steps, 11.0), "{comb:?}");
    }

    #[test]
    fn a_snapshot_of_a_call() {
        let mut bursts = Bursts::default();
        (0..1_000).for_each(|step| if step % 50 == 0 { bursts.missing() } else { bursts.played() });
        let measured = Measured {
            codec: Impairment::G711,
            expected: 1_000,
            received: 985,
            late: 5,
            clusters: bursts.clusters(),
            step_ms: 20,
            jitter_us: 1_500,
            round_trip: Some(Duration::from_millis(80)),
            buffer_ms: 40,
            buffer_most_ms: 150,
            far_delay_ms: None,
        };
        let quality = Quality::of(&measured);
        assert_eq!((quality.lost_ppm, quality.late_ppm, quality.missing_ppm), (15_000, 5_000, 20_000));
        assert_eq!((quality.round_trip_ms, quality.delay_ms), (Some(80), 120));
        assert!((415..=427).contains(&quality.mos_lq_hundredths), "{quality:?}");
        assert!(quality.mos_cq_hundredths < quality.mos_lq_hundredths);
        let voip = quality.voip(9);
        assert_eq!(
            (voip.loss, voip.discard, voip.mos_lq, voip.end_delay_ms),
            (3, 1, (quality.mos_lq_hundredths / 10) as u8, 80)
        );
        assert_eq!(Quality::of(&Measured { expected: 0, ..measured }).lost_ppm, 0);
    }

    proptest! {
        /// More loss, longer runs or more delay never sound better; nothing leaves its scale.
        #[test]
        fn worse_is_never_better(missing in 0.0f32..1.0, more in 0.0f32..0.5, delay in 0.0f32..2_000.0, burst in 1.0f32..20.0) {
            for codec in [Impairment::G711, Impairment::G722, Impairment::OPUS] {
                let here = rate(&codec, missing, burst, delay);
                prop_assert!((0.0..=100.0).contains(&here.r) && (1.0..=4.5).contains(&here.mos));
                prop_assert!(rate(&codec, missing + more, burst, delay).r <= here.r + 0.001);
                prop_assert!(rate(&codec, missing, burst * (1.0 + more), delay).r <= here.r + 0.001);
                prop_assert!(rate(&codec, missing, burst, delay * (1.0 + more)).r <= here.r + 0.01);
            }
        }

        #[test]
        fn shares_stay_shares(steps in prop::collection::vec(any::<bool>(), 0..400)) {
            let pattern: String = steps.iter().map(|played| if *played { '.' } else { 'x' }).collect();
            let found = clusters(&pattern);
            for share in [found.missing, found.burst_density, found.gap_density] {
                prop_assert!((0.0..=1.0).contains(&share), "{:?}", found);
            }
            prop_assert!(found.burst_ratio >= 1.0 && found.burst_steps >= 0.0 && found.gap_steps.is_finite());
        }
    }
}
