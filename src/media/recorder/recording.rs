//! One recording: its tracks, its length, its end.

use super::tap::{Counter, Spout};
use super::track::{Manner, Part, Track};
use super::{Format, Plan, Report, Voice, Why};
use crate::clock::Mono;
use crate::media::TICK_MS;
use std::io::{self, Seek, Write};
use std::time::Duration;

/// Tracks of one recording. Plain samples cost the writer 1 µs a tick; a thousand are a full bridge.
const WAV_TRACKS_MOST: usize = 1_001;
/// An Opus encoder takes 100 to 200 µs a tick: so many keep the writer's core half busy, and no ring runs over.
const OPUS_TRACKS_MOST: usize = 64;

/// Two ticks: what a mixer has begun to push when it is told to stop is in the ring by then.
const GRACE: Duration = Duration::from_millis(2 * TICK_MS);

/// The machine of a recording over files that `open` makes by name. It writes where it stands and waits for nothing else.
pub(super) struct Recording<W, O> {
    manner: Manner,
    /// The first part of all its files' names.
    stem: String,
    open: O,
    counter: Counter,
    tracks: Vec<Track<W>>,
    numbered: usize,
    until: Option<Until>,
    failed: Option<(usize, io::Error)>,
}

/// Where a recording ends, once that is known.
#[derive(Clone, Copy, Debug)]
struct Until {
    ticks: u64,
    why: Why,
    /// From when on all that belongs to it has been pushed.
    at: Mono,
}

/// What is left to do is to bring the parts to the disk.
pub(super) struct Ended<W> {
    pub report: Report,
    pub parts: Vec<Part<W>>,
}

impl<W: Write + Seek, O: FnMut(&str) -> io::Result<W>> Recording<W, O> {
    /// `moment`: UTC in a form that sorts and that a file's name may have.
    pub fn new(plan: &Plan, moment: &str, counter: Counter, open: O) -> Recording<W, O> {
        Recording {
            manner: Manner::new(plan.rate, plan.format),
            stem: format!("{}-{moment}", plan.meeting),
            open,
            counter,
            tracks: Vec::new(),
            numbered: 0,
            until: None,
            failed: None,
        }
    }

    /// Another track, silent until now. Handed back: there are too many, or this is the end.
    pub fn add(&mut self, voice: Voice, spout: Spout) -> Result<(), Voice> {
        let most = match self.manner.format {
            Format::Wav => WAV_TRACKS_MOST,
            Format::Opus => OPUS_TRACKS_MOST,
        };
        if self.tracks.len() >= most || self.until.is_some() || self.failed.is_some() {
            return Err(voice);
        }
        let stem = self.name(&voice);
        match Track::new(voice, stem, self.manner.clone(), spout, &mut self.open) {
            Ok(track) => self.tracks.push(track),
            Err(error) => self.failed = Some((usize::MAX, error)),
        }
        Ok(())
    }

    /// Whether there are tracks, and no end is in sight.
    pub fn is_recording(&self) -> bool {
        !self.tracks.is_empty() && self.until.is_none()
    }

    /// It ends at the tick that is being recorded.
    pub fn stop(&mut self, now: Mono, why: Why) {
        let (ticks, at) = (self.counter.ticks(), now + GRACE);
        self.until.get_or_insert(Until { ticks, why, at });
    }

    /// Writes what has come. Once, and last: the end.
    pub fn work(&mut self, now: Mono) -> Option<Ended<W>> {
        let is_over = self.counter.is_over();
        if is_over {
            self.stop(now, Why::Over);
        }
        self.take();
        if let Some((_, error)) = &self.failed {
            let why = Why::of(error);
            return Some(self.end(why));
        }
        let until = self.until.filter(|until| is_over || now >= until.at)?;
        self.pad(until.ticks);
        Some(self.end(until.why))
    }

    /// `-mixed`, and for the others a number, so that two of one label have two files.
    fn name(&mut self, voice: &Voice) -> String {
        match voice {
            Voice::Mixed => format!("{}-mixed", self.stem),
            Voice::One(label) => {
                self.numbered += 1;
                format!("{}-{:03}-{label}", self.stem, self.numbered)
            }
        }
    }

    fn take(&mut self) {
        let until = self.until.map_or(u64::MAX, |until| until.ticks);
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let taken = match track.take(until, &mut self.open) {
                // Nothing comes: a pause. What there is may as well be safe.
                Ok(false) => track.flush(),
                taken => taken.map(drop),
            };
            if let Err(error) = taken {
                self.failed.get_or_insert((index, error));
            }
        }
    }

    /// Whoever left before, or lost the end, is silent to the end.
    fn pad(&mut self, until: u64) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if let Err(error) = track.pad(until, &mut self.open) {
                self.failed.get_or_insert((index, error));
            }
        }
    }

    fn end(&mut self, why: Why) -> Ended<W> {
        let ticks = self.until.map_or(self.counter.ticks(), |until| until.ticks);
        let mut failed = self.failed.take();
        let (mut tracks, mut parts) = (Vec::new(), Vec::new());
        for (index, track) in self.tracks.drain(..).enumerate() {
            let is_sound = failed.as_ref().is_none_or(|(bad, _)| *bad != index);
            let (kept, files, error) = track.finish(is_sound);
            tracks.push(kept);
            parts.extend(files);
            failed = failed.or(error.map(|error| (index, error)));
        }
        let why = failed.map_or(why, |(_, error)| Why::of(&error));
        Ended { report: Report { why, length_ms: ticks * TICK_MS, tracks }, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ogg::reader;
    use super::super::tap::{self, Reel, Tap};
    use super::super::{Kept, Label};
    use super::*;
    use crate::media::codec::Rate;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::io::{Cursor, ErrorKind, SeekFrom};
    use std::rc::Rc;

    /// A disk with so much room that it shares among its files.
    #[derive(Clone)]
    struct Disk {
        files: Rc<RefCell<BTreeMap<String, Cursor<Vec<u8>>>>>,
        room: Rc<Cell<u64>>,
    }

    struct OnDisk {
        disk: Disk,
        name: String,
    }

    impl Disk {
        fn new(room: u64) -> Disk {
            Disk { files: Rc::default(), room: Rc::new(Cell::new(room)) }
        }

        fn opener(&self) -> impl FnMut(&str) -> io::Result<OnDisk> + use<> {
            let disk = self.clone();
            move |name| {
                let taken = disk.files.borrow_mut().insert(name.to_owned(), Cursor::default()).is_some();
                if taken {
                    Err(ErrorKind::AlreadyExists.into())
                } else {
                    Ok(OnDisk { disk: disk.clone(), name: name.to_owned() })
                }
            }
        }

        /// A file as its report leaves it.
        fn read(&self, name: &str) -> Vec<u8> {
            self.files.borrow()[name].get_ref().clone()
        }
    }

    impl Write for OnDisk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let mut files = self.disk.files.borrow_mut();
            let file = files.get_mut(&self.name).unwrap();
            let grows = (file.position() + octets.len() as u64).saturating_sub(file.get_ref().len() as u64);
            let room = self.disk.room.get();
            if grows > 0 && room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let fits = octets.len() - grows.saturating_sub(room) as usize;
            self.disk.room.set(room - grows.min(room));
            file.write(&octets[..fits])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for OnDisk {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.disk.files.borrow_mut().get_mut(&self.name).unwrap().seek(to)
        }
    }

    fn plan(rate: Rate, format: Format) -> Plan {
        Plan { meeting: Label::parse("4711").unwrap(), rate, format }
    }

    fn label(text: &str) -> Voice {
        Voice::One(Label::parse(text).unwrap())
    }

    fn samples(file: &[u8]) -> Vec<i16> {
        hound::WavReader::new(Cursor::new(file)).unwrap().samples::<i16>().map(Result::unwrap).collect()
    }

    /// The samples of a tick that can be told from any other.
    fn mark(rate: Rate, at: u64) -> Vec<i16> {
        vec![at as i16 + 1; rate.samples(TICK_MS as usize)]
    }

    /// All parts of a WAV track, one behind the other.
    fn joined(disk: &Disk, kept: &Kept) -> Vec<i16> {
        kept.files.iter().flat_map(|name| samples(&disk.read(name))).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Tick { mixed: bool, one: bool },
        Silent,
        Pause(bool),
        Stall(u16),
        Work,
        Join,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (any::<bool>(), any::<bool>()).prop_map(|(mixed, one)| Step::Tick { mixed, one }),
            1 => Just(Step::Silent),
            1 => any::<bool>().prop_map(Step::Pause),
            1 => (0..400u16).prop_map(Step::Stall),
            3 => Just(Step::Work),
            1 => Just(Step::Join),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Ticks that are pushed, are not, are lost since the writer slept, pauses, a late comer, files that are full:
        /// each track has the reel's length to the sample, and each sound stands at its tick.
        #[test]
        fn all_tracks_are_as_long_as_the_reel(steps in prop::collection::vec(step(), 0..120), cut in 20..200u64, asked in any::<bool>()) {
            let (rate, disk, now) = (Rate::Narrow, Disk::new(u64::MAX), Mono::default());
            let (mut reel, counter) = tap::reel();
            let mut recording = Recording::new(&plan(rate, Format::Wav), "now", counter, disk.opener());
            recording.manner.most_ticks = cut;
            let (mut mixed, spout) = tap::ring(rate);
            recording.add(Voice::Mixed, spout).unwrap();
            let mut one: Option<Tap> = None;
            let tick = |reel: &mut Reel, mixed: Option<&mut Tap>, one: Option<&mut Tap>| {
                reel.tick();
                let sound = mark(rate, reel.ticks() - 1);
                [mixed, one].into_iter().flatten().for_each(|tap| tap.push(reel, rate, &sound));
            };
            reel.tick();
            for step in steps {
                match step {
                    Step::Tick { .. } if reel.ticks() == 0 => {}
                    Step::Tick { mixed: says, one: also } => {
                        tick(&mut reel, says.then_some(&mut mixed), one.as_mut().filter(|_| also));
                    }
                    Step::Silent => {
                        reel.tick();
                        mixed.push(&reel, rate, &[]);
                    }
                    Step::Pause(on) => reel.pause(on),
                    Step::Stall(ticks) => (0..ticks).for_each(|_| tick(&mut reel, Some(&mut mixed), one.as_mut())),
                    Step::Work => prop_assert!(recording.work(now).is_none()),
                    Step::Join if one.is_none() => {
                        let (tap, spout) = tap::ring(rate);
                        recording.add(label("late"), spout).unwrap();
                        one = Some(tap);
                    }
                    Step::Join => {}
                }
            }
            let ticks = reel.ticks();
            if asked {
                recording.stop(now, Why::Asked);
                prop_assert!(recording.work(now).is_none());
            } else {
                drop(reel);
            }
            let ended = recording.work(now + GRACE).unwrap();
            prop_assert!(recording.tracks.is_empty());
            prop_assert_eq!(ended.report.length_ms, ticks * TICK_MS);
            prop_assert_eq!(ended.report.why, if asked { Why::Asked } else { Why::Over });
            for kept in &ended.report.tracks {
                prop_assert_eq!(kept.length_ms, ticks * TICK_MS);
                let heard = joined(&disk, kept);
                prop_assert_eq!(heard.len() as u64, ticks * 160);
                for (at, sound) in heard.chunks(160).enumerate() {
                    let expected = at as i16 + 1;
                    prop_assert!(sound.iter().all(|s| *s == 0) || sound.iter().all(|s| *s == expected), "tick {}", at);
                }
                let octets: u64 = kept.files.iter().map(|name| disk.read(name).len() as u64).sum();
                prop_assert_eq!(kept.octets, octets);
            }
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Wherever the disk ends: one end, told as what it is, and files that play to where they say they do.
        #[test]
        fn a_full_disk_ends_it_once(room in 0..40_000u64, opus in any::<bool>()) {
            let format = if opus { Format::Opus } else { Format::Wav };
            let (rate, disk) = (Rate::Narrow, Disk::new(if opus { room / 8 } else { room }));
            let (mut reel, counter) = tap::reel();
            let mut recording = Recording::new(&plan(rate, format), "now", counter, disk.opener());
            let mut taps = Vec::new();
            for voice in [Voice::Mixed, label("a"), label("b")] {
                let (tap, spout) = tap::ring(rate);
                let _ = recording.add(voice, spout);
                taps.push(tap);
            }
            let mut ends = Vec::new();
            for round in 0..100 {
                for _ in 0..5 {
                    reel.tick();
                    let sound: Vec<i16> = (0..160).map(|i| ((i * i + round) % 701) * 9).collect();
                    taps.iter_mut().for_each(|tap| tap.push(&reel, rate, &sound));
                }
                ends.extend(recording.work(Mono::default()));
                if !ends.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(ends.len(), 1);
            prop_assert_eq!(ends[0].report.why, Why::DiskFull);
            prop_assert!(taps.iter().all(Tap::is_cut), "the mixer is rid of it");
            let parts: BTreeMap<_, _> = ends[0].parts.iter().map(|part| (&part.name, part.octets)).collect();
            for kept in &ends[0].report.tracks {
                let file = disk.read(&kept.files[0]);
                let octets = parts[&kept.files[0]] as usize;
                prop_assert!(octets <= file.len());
                if opus {
                    let read = reader::read(&file[..octets]);
                    let granules = read.granules.last().map_or(0, |last| last.saturating_sub(312));
                    prop_assert_eq!(granules / 48, kept.length_ms);
                } else {
                    prop_assert_eq!(samples(&file[..octets]).len() as u64 * 1_000 / 8_000, kept.length_ms);
                }
            }
        }
    }

    #[test]
    fn a_room_that_changes_its_rate_keeps_its_length_and_its_pitch() {
        let disk = Disk::new(u64::MAX);
        let (mut reel, counter) = tap::reel();
        let mut recording = Recording::new(&plan(Rate::Wide, Format::Wav), "now", counter, disk.opener());
        let (mut tap, spout) = tap::ring(Rate::Narrow);
        recording.add(Voice::Mixed, spout).unwrap();
        for at in 0..200u64 {
            let rate = Rate::ALL[at as usize / 50];
            let (size, step) = (rate.samples(20), std::f64::consts::TAU * 500.0 / f64::from(rate.hz()));
            let first = at as usize * size;
            let sound: Vec<i16> = (first..first + size).map(|i| ((i as f64 * step).sin() * 10_000.0) as i16).collect();
            reel.tick();
            tap.push(&reel, rate, &sound);
            assert!(recording.work(Mono::default()).is_none());
        }
        drop(reel);
        let ended = recording.work(Mono::default()).unwrap();
        let heard = joined(&disk, &ended.report.tracks[0]);
        assert_eq!(heard.len(), 200 * 320);
        for second in heard.chunks(16_000) {
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (i, sample) in second.iter().enumerate() {
                let phase = i as f64 * std::f64::consts::TAU * 500.0 / 16_000.0;
                sine += phase.sin() * f64::from(*sample) / 8_000.0;
                cosine += phase.cos() * f64::from(*sample) / 8_000.0;
            }
            assert!((sine.hypot(cosine) - 10_000.0).abs() < 200.0, "{sine} {cosine}");
            let power = second.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 16_000.0;
            assert!((power.sqrt() - 7_071.0).abs() < 150.0, "{power}");
        }
    }

    #[test]
    fn a_real_disk_that_is_full_says_so() {
        let (mut reel, counter) = tap::reel();
        let open = |_: &str| std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut recording = Recording::new(&plan(Rate::Full, Format::Opus), "now", counter, open);
        let (tap, spout) = tap::ring(Rate::Full);
        recording.add(Voice::Mixed, spout).unwrap();
        reel.tick();
        let ended = recording.work(Mono::default()).unwrap();
        assert_eq!((ended.report.why, ended.parts.len()), (Why::DiskFull, 0));
        assert!(tap.is_cut() || ended.report.tracks.is_empty());
    }

    #[test]
    fn there_is_an_end_to_tracks() {
        let disk = Disk::new(u64::MAX);
        let (_reel, counter) = tap::reel();
        let mut recording = Recording::new(&plan(Rate::Narrow, Format::Opus), "now", counter, disk.opener());
        for _ in 0..OPUS_TRACKS_MOST {
            recording.add(label("x"), tap::ring(Rate::Narrow).1).unwrap();
        }
        assert_eq!(recording.add(label("y"), tap::ring(Rate::Narrow).1), Err(label("y")));
        recording.stop(Mono::default(), Why::Asked);
        let ended = recording.work(Mono::default() + GRACE).unwrap();
        assert_eq!(ended.report.tracks[9].files, ["4711-now-010-x.opus"]);
        assert_eq!(recording.add(Voice::Mixed, tap::ring(Rate::Narrow).1), Err(Voice::Mixed));
    }
}
