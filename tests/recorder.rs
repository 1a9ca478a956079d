//! Recordings as another program plays them: ffmpeg finds the codec, the length to the sample, and the sound in its place.

use std::path::Path;
use std::process::Command;
use tollbridge::media::Rate;
use tollbridge::media::recorder::io::{Config, Recorder};
use tollbridge::media::recorder::{Event, Format, Label, Plan, RecordingId, Report, Voice};

const TICKS: usize = 123;
/// Those of the tone in the middle of it.
const TONE: std::ops::Range<usize> = 50..100;

fn record(folder: &Path, rate: Rate, format: Format) -> Report {
    let (recorder, mut events) = Recorder::start(Config::new(folder.to_owned())).unwrap();
    let (id, meeting) = (RecordingId(1), Label::parse("4711").unwrap());
    let mut reel = recorder.begin(id, Plan { meeting, rate, format }).unwrap();
    let mut tap = recorder.track(id, Voice::Mixed, rate).unwrap();
    let size = rate.samples(20);
    let step = std::f64::consts::TAU * 440.0 / f64::from(rate.hz());
    for tick in 0..TICKS {
        let tone = |i: usize| (((tick * size + i) as f64 * step).sin() * 10_000.0) as i16;
        let sound: Vec<i16> = if TONE.contains(&tick) { (0..size).map(tone).collect() } else { Vec::new() };
        reel.tick();
        tap.push(&reel, rate, &sound);
    }
    drop(reel);
    loop {
        if let Event::Stopped { report, .. } = events.blocking_recv().unwrap() {
            return report;
        }
    }
}

/// What ffmpeg makes of a file: all of its samples at 48 kHz, and no complaint.
fn play(file: &Path) -> Vec<i16> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(file).args(["-f", "s16le", "-ac", "1", "-ar", "48000", "-"]);
    let played = ffmpeg.output().expect("ffmpeg is installed (tests/run does that)");
    assert_eq!(String::from_utf8_lossy(&played.stderr), "");
    played.stdout.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

fn codec(file: &Path) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]).arg(file);
    String::from_utf8_lossy(&ffprobe.output().unwrap().stdout).trim().to_owned()
}

#[test]
fn others_play_what_was_recorded() {
    for (format, name) in [(Format::Wav, "pcm_s16le"), (Format::Opus, "opus")] {
        for rate in Rate::ALL {
            let folder = tempfile::tempdir().unwrap();
            let report = record(folder.path(), rate, format);
            assert_eq!((report.length_ms, report.tracks[0].length_ms), (TICKS as u64 * 20, TICKS as u64 * 20));
            let file = folder.path().join(&report.tracks[0].files[0]);
            assert_eq!(codec(&file), name);
            let heard = play(&file);
            assert_eq!(heard.len(), TICKS * 960, "{format:?} {rate:?}");
            let power = |ticks: std::ops::Range<usize>| {
                let part = &heard[ticks.start * 960..ticks.end * 960];
                (part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / part.len() as f64).sqrt()
            };
            assert!((power(51..99) / 7_071.0 - 1.0).abs() < 0.2, "{format:?} {rate:?}: {}", power(51..99));
            assert!(power(0..49) < 100.0 && power(102..TICKS) < 100.0, "{format:?} {rate:?}");
        }
    }
}
