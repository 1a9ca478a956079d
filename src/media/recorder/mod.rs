//! A meeting on disk: the mix, and a track of each participant, to the sample as long as the meeting's own clock says.
//!
//! A mixer thread turns a [`Reel`] and pushes into [`Tap`]s; one writer thread (`io`) drains them into files every 100 ms.
//! A track's place in time is the reel's tick, never how much has arrived: whatever comes late, not at all, or at another
//! rate, all tracks have one length, the number of ticks that the reel has turned, times 20 ms. A disk that fails ends a
//! recording with an alarm; the meeting does not notice.

pub mod io;
mod ogg;
mod opus;
mod recording;
pub(super) mod tap;
mod track;
mod wav;

pub use tap::{Reel, Tap};

use crate::media::codec::Rate;
use std::fmt;
use std::io::ErrorKind;

/// The longest label: with the moment and the number of a track, a name stays far below the 255 octets of a file system.
const LABEL_MOST: usize = 64;

/// One recording, as the owner names it (never reused while the process lives).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub u64);

/// What the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Plain samples; beyond 4 GiB (12 hours at 48 kHz) a track goes on in another file.
    #[default]
    Wav,
    /// A tenth of the place, for about 5 % of a core a track of speech.
    Opus,
}

impl std::str::FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Format, &'static str> {
        [Format::Wav, Format::Opus].into_iter().find(|format| format.extension() == text).ok_or("expected wav or opus")
    }
}

impl Format {
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Wav => "wav",
            Format::Opus => "opus",
        }
    }
}

/// A part of a file's name that is safe in any folder: ASCII letters, digits, `-` and `_`, a letter or a digit first.
/// Nothing else becomes part of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(String);

/// Why a text is no [`Label`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label has 1 to {LABEL_MOST} letters, digits, - and _, and begins with a letter or a digit")]
pub struct BadLabel;

impl Label {
    pub fn parse(text: &str) -> Result<Label, BadLabel> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let fits = begins && text.len() <= LABEL_MOST && text.chars().all(is_plain);
        if fits { Ok(Label(text.to_owned())) } else { Err(BadLabel) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a recording is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first part of all its files' names.
    pub meeting: Label,
    /// Of the files. Sound of another rate is brought to it, be it that the room changes in mid-recording.
    pub rate: Rate,
    pub format: Format,
}

/// Whose sound a track is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voice {
    Mixed,
    One(Label),
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("it was asked for")]
    Asked,
    #[error("the meeting ended")]
    Over,
    #[error("the bridge stops")]
    Closing,
    #[error("the disk is full")]
    DiskFull,
    /// Less is free than the floor that other things on this machine need.
    #[error("the disk is nearly full")]
    DiskLow,
    #[error("the disk failed: {0}")]
    DiskFailed(ErrorKind),
}

impl Why {
    /// Somebody must look after the machine.
    pub const fn is_alarm(self) -> bool {
        matches!(self, Why::DiskFull | Why::DiskLow | Why::DiskFailed(_))
    }

    fn of(error: &std::io::Error) -> Why {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Why::DiskFull,
            other => Why::DiskFailed(other),
        }
    }
}

/// One track as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub voice: Voice,
    /// Names within the folder, in their order.
    pub files: Vec<String>,
    pub length_ms: u64,
    pub octets: u64,
    /// Of the length, what the disk was too slow for; it is silence now.
    pub lost_ms: u64,
}

/// The end of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub why: Why,
    /// What the reel counted. Each track has this length, unless the disk ended it before.
    pub length_ms: u64,
    pub tracks: Vec<Kept>,
}

/// What the owner hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The folder is writable and the files are there.
    Started { recording: RecordingId },
    /// A track that is not recorded: there are too many, or its recording has ended.
    Untracked { recording: RecordingId, voice: Voice },
    /// Once, and last. The files are on the disk for good.
    Stopped { recording: RecordingId, report: Report },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_no_path() {
        for text in ["a", "4711", "p-7_x", &"x".repeat(LABEL_MOST)] {
            assert_eq!(Label::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "-rf", "_", "..", "a/b", "a.b", "a b", "ä", "a\0", "a\n", &"x".repeat(LABEL_MOST + 1)] {
            assert_eq!(Label::parse(text), Err(BadLabel), "{text:?}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        assert_eq!(Why::of(&std::io::Error::from_raw_os_error(libc::ENOSPC)), Why::DiskFull);
        assert_eq!(Why::of(&std::io::Error::from_raw_os_error(libc::EDQUOT)), Why::DiskFull);
        let broken = Why::of(&std::io::Error::from_raw_os_error(libc::EIO));
        assert!(broken != Why::DiskFull && broken.is_alarm());
        assert!(!Why::Asked.is_alarm());
    }
}
