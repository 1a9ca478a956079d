//! One voice from its ring into its files.

use super::opus::Opus;
use super::tap::{Spout, TICK_MOST};
use super::wav::{self, Wav};
use super::{Format, Kept, Voice};
use crate::media::TICK_MS;
use crate::media::codec::Rate;
use crate::media::codec::resample::Resampler;
use std::io::{self, Seek, Write};

/// What a file holds is written after so much sound: all that a crash can take.
const FLUSH_TICKS: u64 = 50;

enum Tape<W> {
    Wav(Wav<W>),
    Opus(Box<Opus<W>>),
}

impl<W: Write + Seek> Tape<W> {
    /// Milliseconds and octets that are surely in the file.
    fn kept(&self, rate: Rate) -> (u64, u64) {
        match self {
            Tape::Wav(wav) => (wav.kept().0 * 1_000 / u64::from(rate.hz()), wav.kept().1),
            Tape::Opus(opus) => opus.kept(),
        }
    }

    fn ticks(&self, rate: Rate) -> u64 {
        match self {
            Tape::Wav(wav) => wav.samples() / rate.samples(TICK_MS as usize) as u64,
            Tape::Opus(opus) => opus.ticks(),
        }
    }

    fn sound(&mut self, samples: &[i16]) -> io::Result<()> {
        match self {
            Tape::Wav(wav) => {
                wav.sound(samples);
                Ok(())
            }
            Tape::Opus(opus) => opus.sound(samples),
        }
    }

    fn silence(&mut self, ticks: u64, rate: Rate) -> io::Result<()> {
        match self {
            Tape::Wav(wav) => wav.silence(ticks * rate.samples(TICK_MS as usize) as u64),
            Tape::Opus(opus) => opus.silence(ticks),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Tape::Wav(wav) => wav.flush(),
            Tape::Opus(opus) => opus.flush(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Tape::Wav(wav) => wav.flush(),
            Tape::Opus(opus) => opus.finish(),
        }
    }

    fn into_inner(self) -> W {
        match self {
            Tape::Wav(wav) => wav.into_inner(),
            Tape::Opus(opus) => opus.into_inner(),
        }
    }
}

/// A file as it is left: whatever stands behind `octets` belongs to nothing.
pub(super) struct Part<W> {
    pub name: String,
    pub file: W,
    pub octets: u64,
    /// Milliseconds.
    length_ms: u64,
}

/// How all tracks of a recording are written.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub rate: Rate,
    pub format: Format,
    /// Of one file.
    pub most_ticks: u64,
}

impl Manner {
    pub fn new(rate: Rate, format: Format) -> Manner {
        let most_ticks = match format {
            Format::Wav => wav::DATA_MOST / (2 * rate.samples(TICK_MS as usize) as u64),
            Format::Opus => u64::MAX,
        };
        Manner { rate, format, most_ticks }
    }
}

pub(super) struct Track<W> {
    pub voice: Voice,
    manner: Manner,
    /// The names of all its files but for number and kind.
    stem: String,
    name: String,
    tape: Tape<W>,
    full: Vec<Part<W>>,
    spout: Spout,
    resampler: Option<(Rate, Resampler)>,
    /// Ticks in all files, and those of them that are flushed.
    ticks: u64,
    flushed: u64,
}

impl<W: Write + Seek> Track<W> {
    pub fn new(
        voice: Voice,
        stem: String,
        manner: Manner,
        spout: Spout,
        open: &mut impl FnMut(&str) -> io::Result<W>,
    ) -> io::Result<Track<W>> {
        let (name, tape) = begin(&stem, &manner, 1, open)?;
        let (full, resampler) = (Vec::new(), None);
        Ok(Track { voice, manner, stem, name, tape, full, spout, resampler, ticks: 0, flushed: 0 })
    }

    /// Takes what the ring holds of the time before `until`. False: it was empty.
    pub fn take(&mut self, until: u64, open: &mut impl FnMut(&str) -> io::Result<W>) -> io::Result<bool> {
        let (mut sound, mut came) = ([0; TICK_MOST], false);
        while let Some(block) = self.spout.pop(&mut sound) {
            came = true;
            if block.at >= until || block.at < self.ticks {
                continue;
            }
            self.pad(block.at, open)?;
            if block.samples == 0 {
                self.pad(block.at + 1, open)?;
            } else {
                self.sound(block.rate, &sound[..block.samples], open)?;
            }
            if self.ticks - self.flushed >= FLUSH_TICKS {
                self.flush()?;
            }
        }
        Ok(came)
    }

    /// Silence up to a tick.
    pub fn pad(&mut self, until: u64, open: &mut impl FnMut(&str) -> io::Result<W>) -> io::Result<()> {
        while self.ticks < until {
            self.turn_page(open)?;
            let room = self.manner.most_ticks - self.tape.ticks(self.manner.rate);
            let ticks = room.min(until - self.ticks);
            self.tape.silence(ticks, self.manner.rate)?;
            self.ticks += ticks;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.flushed = self.ticks;
        self.tape.flush()
    }

    /// No file needs anything more than to be cut where it says and brought to the disk.
    pub fn finish(mut self, is_sound: bool) -> (Kept, Vec<Part<W>>, Option<io::Error>) {
        let failed = if is_sound { self.tape.finish().err() } else { None };
        let (last_ms, octets) = self.tape.kept(self.manner.rate);
        let is_whole = is_sound && failed.is_none();
        let own_ms = self.tape.ticks(self.manner.rate) * TICK_MS;
        let length_ms = if is_whole { own_ms } else { last_ms };
        let lost_ms = self.spout.lost() * TICK_MS;
        self.full.push(Part { name: self.name, file: self.tape.into_inner(), octets, length_ms });
        let kept = Kept {
            voice: self.voice,
            files: self.full.iter().map(|part| part.name.clone()).collect(),
            length_ms: self.full.iter().map(|part| part.length_ms).sum(),
            octets: self.full.iter().map(|part| part.octets).sum(),
            lost_ms,
        };
        (kept, self.full, failed)
    }

    fn sound(&mut self, rate: Rate, samples: &[i16], open: &mut impl FnMut(&str) -> io::Result<W>) -> io::Result<()> {
        self.turn_page(open)?;
        self.ticks += 1;
        let own = self.manner.rate;
        if rate == own {
            self.resampler = None;
            return self.tape.sound(samples);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.resampler = Some((rate, Resampler::new(rate, own)));
        }
        let mut changed = [0; TICK_MOST];
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.run(samples, &mut changed);
        }
        // All rates have whole samples in a tick, so it makes just as many as are needed.
        self.tape.sound(&changed[..own.samples(TICK_MS as usize)])
    }

    /// A file that can hold no more is followed by another.
    fn turn_page(&mut self, open: &mut impl FnMut(&str) -> io::Result<W>) -> io::Result<()> {
        let rate = self.manner.rate;
        if self.tape.ticks(rate) < self.manner.most_ticks {
            return Ok(());
        }
        self.tape.finish()?;
        let length_ms = self.tape.ticks(rate) * TICK_MS;
        let (_, octets) = self.tape.kept(rate);
        let (name, tape) = begin(&self.stem, &self.manner, self.full.len() + 2, open)?;
        let name = std::mem::replace(&mut self.name, name);
        let file = std::mem::replace(&mut self.tape, tape).into_inner();
        self.full.push(Part { name, file, octets, length_ms });
        Ok(())
    }
}

/// `_` stands behind `.` in ASCII, so that the parts of a track sort behind its first.
fn begin<W: Write + Seek>(
    stem: &str,
    manner: &Manner,
    part: usize,
    open: &mut impl FnMut(&str) -> io::Result<W>,
) -> io::Result<(String, Tape<W>)> {
    let number = if part == 1 { String::new() } else { format!("_{part:02}") };
    let name = format!("{stem}{number}.{}", manner.format.extension());
    let file = open(&name)?;
    let tape = match manner.format {
        Format::Wav => Tape::Wav(Wav::new(file, manner.rate)?),
        // Each file has one stream, so that any number tells it from the others (RFC 3533 section 4).
        Format::Opus => Tape::Opus(Box::new(Opus::new(file, manner.rate, part as u32)?)),
    };
    Ok((name, tape))
}
