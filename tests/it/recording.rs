//! What is said in a meeting, on the disk.

use crate::world::{DIRECT, PEOPLE, TOLL, World, hears, hears_said, led, tone};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tollbridge::config::Settings;
use tollbridge::meeting::Prompt;
use tollbridge::meeting::recording::Step;
use tollbridge::switchboard::ask::{Ask, Told};

const RATE_HZ: u32 = 16_000;

fn folder(settings: &Settings) -> PathBuf {
    let store = Path::new(settings.store_url.trim_start_matches("sqlite:"));
    store.parent().unwrap().join("recordings")
}

async fn record(world: &World, step: Step) -> Told {
    world.ask(Ask::Record { meeting: "open".parse().unwrap(), step }).await
}

async fn until(world: &World, state: &str) {
    world.until(|| async { world.meetings().await.iter().all(|meeting| meeting.recording == state) }).await;
}

/// A file's samples.
fn read(path: &Path) -> Vec<f64> {
    let mut wav = hound::WavReader::open(path).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().sample_rate, wav.spec().bits_per_sample), (1, RATE_HZ, 16));
    wav.samples::<i16>().map(|sample| f64::from(sample.unwrap())).collect()
}

/// How strong a tone is in a part of a recording.
fn strength(samples: &[f64], hz: u32) -> f64 {
    let step = std::f64::consts::TAU * f64::from(hz) / f64::from(RATE_HZ);
    let wave = |n: usize| (step * n as f64).sin_cos();
    let (sine, cosine) = samples.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (n, sample)| {
        let (s, c) = wave(n);
        (sine + sample * s, cosine + sample * c)
    });
    2.0 * f64::hypot(sine, cosine) / samples.len() as f64
}

/// The strongest half second of a tone in a recording.
fn peak(samples: &[f64], hz: u32) -> f64 {
    samples.chunks_exact(RATE_HZ as usize / 2).map(|part| strength(part, hz)).fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_recorded_as_it_was_heard_with_a_track_for_each_and_pauses_left_out() {
    let mut files = PathBuf::new();
    let world = World::with(PEOPLE, |settings| {
        files = folder(settings);
        settings.recording.folder = Some(files.clone());
        settings.recording.tracks = true;
        settings.recording.tone_s = 0;
    })
    .await;
    let anna = world.call("+390622222222", DIRECT).await;
    let guido = world.call("+390611111111", DIRECT).await;
    world.inside("open", 2).await;
    let legs: Vec<String> = world.legs().await.into_iter().map(|leg| leg.id).collect();
    anna.say(tone(500));
    guido.say(tone(900));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(record(&world, Step::Start).await, Told::Done));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(record(&world, Step::Pause).await, Told::Done));
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.say(tone(1_700));
    tokio::time::sleep(Duration::from_secs(2)).await;
    anna.say(tone(500));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(record(&world, Step::Resume).await, Told::Done));
    tokio::time::sleep(Duration::from_secs(1)).await;
    guido.hang_up();
    world.inside("open", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(record(&world, Step::Stop).await, Told::Done));
    assert_eq!(hears(&anna, &[500]).await, [] as [u32; 0], "she is alone");
    anna.hang_up();
    let _folder = world.end().await;

    let mut names: Vec<String> =
        std::fs::read_dir(&files).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    let of = |label: &str| read(&files.join(names.iter().find(|name| name.contains(label)).unwrap()));
    let (mixed, first, second) = (of("-mixed"), of(&legs[0]), of(&legs[1]));
    assert!(names.iter().all(|name| name.starts_with("1000001-")), "{names:?}");
    // One length, by the meeting's clock; the pause took no time.
    assert_eq!((first.len(), second.len()), (mixed.len(), mixed.len()));
    let seconds = mixed.len() as f64 / f64::from(RATE_HZ);
    assert!((4.5..8.0).contains(&seconds), "{seconds} s");
    assert!(peak(&mixed, 500) > 3_000.0 && peak(&mixed, 900) > 3_000.0);
    let (mine, other) = if peak(&first, 500) > 3_000.0 { (first, second) } else { (second, first) };
    assert!(peak(&mine, 500) > 3_000.0 && peak(&mine, 900) < 60.0);
    assert!(peak(&other, 900) > 3_000.0 && peak(&other, 500) < 60.0);
    assert!(peak(&mine, 1_700) < 60.0 && peak(&mixed, 1_700) < 1_000.0, "what was said in the pause");
    // Guido left before the end: his track is silent there, and hers goes on.
    let half = RATE_HZ as usize / 2;
    assert!(strength(&other[other.len() - half..], 900) < 1.0);
    assert!(strength(&mine[mine.len() - half..], 500) > 3_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_told_that_they_are_recorded_by_key_too_and_whoever_comes_later() {
    let world = World::with(PEOPLE, |settings| {
        settings.recording.folder = Some(folder(settings));
        settings.recording.tone_s = 2;
    })
    .await;
    let (anna, guido) = led(&world).await;
    let mark = guido.sound.mark();
    anna.press("*2").await;
    hears_said(&guido, mark, Prompt::RecordingOn, "it").await;
    until(&world, "on").await;
    let late = world.call("+390633333333", TOLL).await;
    late.press("1000002").await;
    let mark = late.sound.mark();
    hears_said(&late, mark, Prompt::RecordingOn, "it").await;
    // The tone, 1400 Hz for a fifth of a second, comes again and again.
    let heard = guido.sound.listen(Duration::from_secs(5)).await;
    let beeps = heard.samples.chunks_exact(800).filter(|part| level_at(part, 1_400.0) > 500.0).count();
    assert!((2..=12).contains(&beeps), "{beeps}");
    let mark = guido.sound.mark();
    anna.press("*2").await;
    hears_said(&guido, mark, Prompt::RecordingOff, "it").await;
    until(&world, "off").await;
    [anna, guido, late].iter().for_each(|phone| phone.hang_up());
    world.end().await;
}

/// Of a tone in sound of 8 kHz.
fn level_at(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / 8_000.0;
    let (sine, cosine) = samples.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (n, sample)| {
        let (s, c) = (step * n as f64).sin_cos();
        (sine + f64::from(*sample) * s, cosine + f64::from(*sample) * c)
    });
    2.0 * f64::hypot(sine, cosine) / samples.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_is_nearly_full_the_recording_ends_and_the_meeting_goes_on() {
    let world = World::with(PEOPLE, |settings| {
        settings.recording.folder = Some(folder(settings));
        settings.recording.keep_free_mib = 1 << 40;
    })
    .await;
    let anna = world.call("+390622222222", DIRECT).await;
    let guido = world.call("+390611111111", DIRECT).await;
    world.inside("open", 2).await;
    let mark = anna.sound.mark();
    assert!(matches!(record(&world, Step::Start).await, Told::Done));
    hears_said(&anna, mark, Prompt::RecordingOff, "en").await;
    until(&world, "off").await;
    anna.say(tone(500));
    assert_eq!(hears(&guido, &[500]).await, [500]);
    [anna, guido].iter().for_each(|phone| phone.hang_up());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_recorded_it_is_said() {
    let world = World::start().await;
    assert!(matches!(record(&world, Step::Start).await, Told::Unknown(_)), "nobody has called");
    let anna = world.call("+390622222222", DIRECT).await;
    world.inside("open", 1).await;
    assert!(matches!(record(&world, Step::Start).await, Told::Not(_)));
    anna.hang_up();
    world.end().await;
}
