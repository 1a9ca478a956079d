//! `tollbridge call`: a test caller. N calls to a number, keys, a tone or a recording, and what was heard, measured.

use super::phone::{Ended, Exchange, Phone};
use super::sound::{Heard, RATE_HZ, Voice};
use super::{Context, Done, Failure, say, say_json};
use crate::clock;
use crate::sip::Transport;
use indicatif::ProgressBar;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Calls at once at the most: a caller for sizing, not a weapon.
const MOST_CALLS: u32 = 10_000;

#[derive(clap::Args)]
pub struct Call {
    /// Number to call, as the bridge's carrier writes it, like +390230578001
    to: String,
    /// Address of the bridge
    #[arg(long, default_value = "127.0.0.1:5060")]
    bridge: SocketAddr,
    /// Signal over TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    /// Number to call from; each further call adds one
    #[arg(long, default_value = "+390600000001")]
    from: String,
    /// Our own address; it must be one of the carrier's sources [default: 127.0.0.1:0, or [::1]:0 where the bridge is on IPv6]
    #[arg(long)]
    local: Option<SocketAddr>,
    /// Keys to press after the answer; a comma is a pause of half a second
    #[arg(long, default_value = "")]
    digits: String,
    /// Calls to make
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_CALLS as i64))]
    calls: u32,
    /// Calls begun a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Seconds from the answer to the end
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Say a tone of so many hertz
    #[arg(long, value_name = "HZ", conflicts_with = "wav")]
    tone: Option<u32>,
    /// Say a recording (WAV, 8 kHz, mono, 16 bit)
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Fail unless a tone of so many hertz is heard
    #[arg(long, value_name = "HZ")]
    expect_tone: Option<u32>,
    /// Write what the first call heard to a WAV file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// What one call came to.
struct Outcome {
    number: u32,
    setup_ms: u64,
    result: Result<Told, Ended>,
}

struct Told {
    heard: Heard,
    packets: u64,
    lost: u64,
    ended_early: Option<Ended>,
}

impl Call {
    pub(super) async fn run(self, context: &Context) -> Done {
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        let here = if self.bridge.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
        let local = self.local.unwrap_or(SocketAddr::new(here, 0));
        let seed = rand::random::<u32>().into();
        let exchange = Exchange::over(transport, local, self.bridge, super::phone::CODECS, seed).await?;
        let voice = self.voice()?;
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new(self.calls.into()) } else { ProgressBar::hidden() };
        let (done, mut outcomes) = mpsc::channel(self.calls as usize);
        let gap = Duration::from_secs(1) / self.rate;
        let mut beat = tokio::time::interval(gap);
        for number in 0..self.calls {
            beat.tick().await;
            let one = One {
                exchange: exchange.clone(),
                number,
                from: self.caller(number)?,
                to: self.to.clone(),
                digits: self.digits.clone(),
                voice: voice.clone(),
                seconds: self.seconds,
            };
            let done = done.clone();
            tokio::spawn(async move { done.send(one.run().await).await.is_ok() });
        }
        drop(done);
        let mut all = Vec::new();
        while let Some(outcome) = outcomes.recv().await {
            bar.inc(1);
            all.push(outcome);
        }
        bar.finish_and_clear();
        all.sort_by_key(|outcome| outcome.number);
        self.report(&all, context)
    }

    fn caller(&self, number: u32) -> Result<String, Failure> {
        let (plus, digits) = self.from.strip_prefix('+').map_or(("", &*self.from), |rest| ("+", rest));
        let first: u64 = digits.parse().map_err(|_| Failure(format!("--from: \"{}\" is no number", self.from)))?;
        Ok(format!("{plus}{}", first + u64::from(number)))
    }

    fn voice(&self) -> Result<Voice, Failure> {
        if let Some(hz) = self.tone {
            return Ok(Voice::Tone { hz, peak: 8_000 });
        }
        let Some(path) = &self.wav else { return Ok(Voice::Silence) };
        let file = std::fs::read(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        let clip =
            crate::media::Clip::from_wav(&file).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        Ok(Voice::Recording(clip.samples().into()))
    }

    fn report(&self, all: &[Outcome], context: &Context) -> Done {
        if let (Some(path), Some(Ok(told))) = (&self.record, all.first().map(|outcome| &outcome.result)) {
            write_wav(path, &told.heard.samples)?;
        }
        let heard_it = |told: &Told| self.expect_tone.is_none_or(|hz| told.heard.tone(hz) > 200.0);
        let mut setup: Vec<u64> = all.iter().filter(|o| o.result.is_ok()).map(|o| o.setup_ms).collect();
        setup.sort_unstable();
        let at = |share: usize| setup.get((setup.len() * share / 100).min(setup.len().saturating_sub(1))).copied();
        let lost: u64 = all.iter().filter_map(|o| o.result.as_ref().ok()).map(|told| told.lost).sum();
        let packets: u64 = all.iter().filter_map(|o| o.result.as_ref().ok()).map(|told| told.packets).sum();
        let deaf = all.iter().filter(|o| o.result.as_ref().is_ok_and(|told| !heard_it(told))).count();
        let (p50, p99) = (at(50), at(99));
        if context.json {
            say_json(&serde_json::json!({
                "calls": all.len(),
                "answered": setup.len(),
                "failed": all.len() - setup.len(),
                "setup_p50_ms": p50.unwrap_or(0),
                "setup_p99_ms": p99.unwrap_or(0),
                "packets": packets,
                "lost": lost,
                "did_not_hear": deaf,
                "refusals": refusals(all).iter().map(|(why, calls)| serde_json::json!({
                    "status": why.status, "reason": why.reason.as_ref().map(|reason| &reason.text), "calls": calls,
                })).collect::<Vec<_>>(),
            }))?;
        } else {
            let mut lines: String = all.iter().map(|outcome| words(outcome, self.expect_tone)).collect();
            lines += &format!("{} of {} calls answered\n", setup.len(), all.len());
            if let (Some(p50), Some(p99)) = (p50, p99) {
                lines += &format!(
                    "set-up: median {p50} ms, 99 % within {p99} ms; {packets} packets heard, {lost} missing\n"
                );
            }
            say(&lines)?;
        }
        match (all.len() - setup.len(), deaf) {
            (0, 0) => Ok(()),
            (0, deaf) => Err(Failure(format!("{deaf} calls did not hear the expected tone"))),
            (failed, _) => {
                let why: Vec<String> = refusals(all).iter().map(|(why, calls)| format!("{calls} × {why}")).collect();
                let were = if failed == 1 { "call was" } else { "calls were" };
                Err(Failure(format!("{failed} {were} not answered: {}", why.join("; "))))
            }
        }
    }
}

/// By which refusals calls did not come about, and how many by each: the most first.
fn refusals(all: &[Outcome]) -> Vec<(&Ended, usize)> {
    let mut found: Vec<(&Ended, usize)> = Vec::new();
    for why in all.iter().filter_map(|outcome| outcome.result.as_ref().err()) {
        match found.iter_mut().find(|(known, _)| *known == why) {
            Some((_, calls)) => *calls += 1,
            None => found.push((why, 1)),
        }
    }
    found.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    found
}

/// A call in a line.
fn words(outcome: &Outcome, expected: Option<u32>) -> String {
    let number = outcome.number + 1;
    let told = match &outcome.result {
        Err(ended) => return format!("call {number}: refused with {ended}\n"),
        Ok(told) => told,
    };
    let early = told.ended_early.as_ref().map(|ended| format!("; ended by the bridge: {ended}"));
    let tone = expected.map(|hz| format!("; {hz} Hz at {:.0}", told.heard.tone(hz)));
    format!(
        "call {number}: answered after {} ms, {} packets heard, level {:.0}{}{}\n",
        outcome.setup_ms,
        told.packets,
        told.heard.level(),
        tone.unwrap_or_default(),
        early.unwrap_or_default()
    )
}

/// One of the calls.
struct One {
    exchange: Exchange,
    number: u32,
    from: String,
    to: String,
    digits: String,
    voice: Voice,
    seconds: u64,
}

impl One {
    async fn run(self) -> Outcome {
        let began = clock::mono();
        let phone = self.exchange.call(&self.from, &self.to).await;
        let setup_ms = clock::mono().millis_since(began);
        let result = match phone {
            Ok(phone) => Ok(self.talk(phone).await),
            Err(ended) => Err(ended),
        };
        Outcome { number: self.number, setup_ms, result }
    }

    async fn talk(&self, mut phone: Phone) -> Told {
        let until = tokio::time::Instant::now() + Duration::from_secs(self.seconds);
        for part in self.digits.split_inclusive(',') {
            phone.press(part.trim_end_matches(',')).await;
            if part.ends_with(',') {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        phone.say(self.voice.clone());
        let ended_early = phone.ended(until.saturating_duration_since(tokio::time::Instant::now())).await;
        if ended_early.is_none() {
            phone.hang_up();
            phone.released(Duration::from_secs(5)).await;
        }
        let (packets, lost) = phone.sound.packets();
        Told { heard: phone.sound.heard(), packets, lost, ended_early }
    }
}

/// Writes samples as a WAV file of 8 kHz, mono, 16 bit.
pub(super) fn write_wav(path: &Path, samples: &[i16]) -> Done {
    let (channels, sample_rate, bits_per_sample) = (1, RATE_HZ as u32, 16);
    let spec = hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for sample in samples {
        writer.write_sample(*sample)?;
    }
    Ok(writer.finalize()?)
}
