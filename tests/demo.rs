//! `tollbridge demo`, as somebody types it: the binary alone, in a folder that is not the project's.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tollbridge"))
        .args(arguments)
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    (output, folder)
}

/// One after the other: two at once are a fair test of the machine, not of the demo.
#[test]
fn the_demo_is_as_it_should_be_and_leaves_only_the_recording() {
    let (output, folder) = demo(&["demo"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "0 differences",
        "the organiser has no licence for calls by phone",
        "the credit held for this call was used up",
        "a wrong PIN",
        "toll-free",
        "increments 30 s then 6 s",
        "posted 0.0000, held 0.0000, available 0.0000 USD",
    ] {
        assert!(told.contains(line), "{line} is missing in:\n{told}");
    }
    let mut recording = hound::WavReader::open(folder.path().join("tollbridge-demo.wav")).unwrap();
    let samples: Vec<i16> = recording.samples().map(Result::unwrap).collect();
    let loud = samples.iter().filter(|sample| sample.unsigned_abs() > 1_000).count();
    assert!(samples.len() > 10 * 8_000, "{} samples", samples.len());
    assert!(loud > 8_000, "{loud} samples are loud");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tollbridge-demo.wav"]);

    let (output, folder) = demo(&["demo", "--json", "--wav", "heard.wav"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{told:#}");
    assert_eq!(told["ok"], true);
    assert_eq!(told["differences"], serde_json::json!([]));
    assert_eq!(told["legs"].as_array().map(Vec::len), Some(12));
    assert_eq!(told["wav"], "heard.wav");
    assert!(folder.path().join("heard.wav").exists());
}
