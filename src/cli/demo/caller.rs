//! A person with a telephone: dials, presses, speaks, and knows a prompt when they hear it.

use super::recognise::{Part, is_in, loudest};
use super::stage::Stage;
use crate::cli::Failure;
use crate::cli::phone::{Ended, Phone};
use crate::cli::sound::Voice;
use crate::clock;
use crate::meeting::Prompt;
use crate::types::Language;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Loudness of everybody's tone (of 32767): four of them at once fit without the limiter.
const PEAK: i16 = 6_000;
/// Heard above, not heard below: a mix passes a tone on as it is.
const HEARD: f64 = 4_000.0;
const NOT_HEARD: f64 = 300.0;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Sound on its way, and the jitter buffers that it goes through.
const SETTLE: Duration = Duration::from_millis(500);
const LISTEN: Duration = Duration::from_millis(500);
/// A bridge that was told to end a call, and does not within this, has failed to.
const GOODBYE: Duration = Duration::from_secs(12);

/// What each prompt says, as the folder of prompts has it.
const WORDS: [(&str, &str); 2] = [
    ("en", include_str!("../../../config/prompts/en/prompts.tsv")),
    ("it", include_str!("../../../config/prompts/it/prompts.tsv")),
];

/// A person's name, number, and the tone that is their voice.
pub(super) struct Person {
    pub name: &'static str,
    pub number: &'static str,
    pub hz: u32,
}

/// One of them in a call.
pub(super) struct Caller<'a> {
    pub person: &'static Person,
    stage: &'a Stage,
    pub phone: Phone,
    /// What was heard before does not count.
    since: Cell<u64>,
}

impl<'a> Caller<'a> {
    /// Dials, and is answered.
    pub async fn dials(stage: &'a Stage, person: &'static Person, number: &str, what: &str) -> Result<Self, Failure> {
        let began = clock::mono();
        let answered = stage.exchange.call(person.number, number).await;
        let took_ms = clock::mono().millis_since(began);
        match answered {
            Ok(phone) => {
                stage.story.check(person.name, format!("dials {number} ({what}): answered after {took_ms} ms"), true);
                Ok(Caller::with(stage, person, phone))
            }
            Err(ended) => Err(Failure(format!("{} dials {number} and is refused: {ended}", person.name))),
        }
    }

    /// Somebody whose call is up already.
    pub fn with(stage: &'a Stage, person: &'static Person, phone: Phone) -> Self {
        Caller { person, stage, phone, since: Cell::new(0) }
    }

    pub fn name(&self) -> &'static str {
        self.person.name
    }

    /// From now on.
    pub fn listens(&self) {
        self.since.set(self.phone.sound.mark());
    }

    pub async fn presses(&self, keys: &str, why: &str) {
        self.stage.story.tell(self.name(), format!("presses {keys} ({why})"));
        // From here: what the last key brings about begins before the key is quite released.
        self.listens();
        self.phone.press(keys).await;
    }

    pub fn says_tone(&self) {
        self.phone.say(Voice::Tone { hz: self.person.hz, peak: PEAK });
    }

    pub fn is_silent(&self) {
        self.phone.say(Voice::Silence);
    }

    /// Says a prompt's words: speech, as far as a demo has any.
    pub fn says(&self, prompt: Prompt) -> Result<(), Failure> {
        let clip = self.stage.clip(prompt, Language::ENGLISH)?;
        self.stage.story.tell(self.name(), format!("says: {}", words(prompt, Language::ENGLISH)));
        self.phone.say(Voice::Recording(clip.samples().into()));
        Ok(())
    }

    /// Checks that a prompt is heard, or was since the last key.
    pub async fn hears(&self, prompt: Prompt, language: Language, part: Part, wait_s: u64) -> Result<(), Failure> {
        let clip = self.stage.clip(prompt, language)?;
        let (stretches, rest) = loudest(clip.samples(), part);
        let found = self.found(stretches, Duration::from_secs(wait_s)).await;
        self.stage.story.check(self.name(), format!("hears: {}", words(prompt, language)), found);
        if let Part::End = part {
            sleep(rest).await;
        }
        Ok(())
    }

    /// Whether one of the stretches of a prompt comes within `wait`.
    async fn found(&self, stretches: Vec<Vec<i16>>, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let longest = stretches.iter().map(Vec::len).max().unwrap_or(0) as u64;
        loop {
            sleep(LOOK_AGAIN).await;
            let end = self.phone.sound.mark();
            let within = self.phone.sound.heard_since(self.since.get()).samples;
            let looked_for = stretches.clone();
            // Arithmetic enough to make the other callers wait, were it done here.
            let found = tokio::task::spawn_blocking(move || is_in(&looked_for, &within)).await;
            if found.unwrap_or(false) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            // What comes next may have its beginning in the end of this.
            self.since.set(self.since.get().max(end.saturating_sub(longest)));
        }
    }

    /// Checks that nothing of another's tone is heard.
    pub async fn hears_nothing_of(&self, other: &Caller<'_>) {
        let level = self.phone.sound.listen(LISTEN).await.tone(other.person.hz);
        let told = format!("hears nothing of {}'s tone: {level:.0}", other.name());
        self.stage.story.check(self.name(), told, level < NOT_HEARD);
    }

    /// Checks that the bridge ends the call, with these words.
    pub async fn is_hung_up(&mut self, words: &str) {
        let ended = self.phone.ended(GOODBYE).await;
        let (told, right) = match &ended {
            Some(ended) => (ended.to_string(), reason(ended) == words && ended.status == 0),
            None => ("nothing: the call goes on".to_owned(), false),
        };
        self.stage.story.check(self.person.name, format!("gets: {told}"), right);
    }
}

/// The words of a reason, as SIP carried them.
pub(super) fn reason(ended: &Ended) -> &str {
    ended.reason.as_ref().map_or("", |reason| &reason.text)
}

/// How much a prompt to one caller lowers the room for them, and some more.
const LOWERED: f64 = 5.0;

/// Everybody says their tone at once: each hears all the others, and not themselves. Nobody hears those of `mute`.
pub(super) async fn everybody_talks(stage: &Stage, callers: &[&Caller<'_>], mute: &[&Caller<'_>]) {
    callers.iter().for_each(|caller| caller.says_tone());
    sleep(SETTLE).await;
    let marks: Vec<u64> = callers.iter().map(|caller| caller.phone.sound.mark()).collect();
    sleep(LISTEN).await;
    for (caller, mark) in callers.iter().zip(marks) {
        let heard = caller.phone.sound.heard_since(mark);
        let (mut lines, mut right) = (Vec::new(), true);
        // Who is muted and talks is told so, over a lowered room.
        let is_muted = mute.iter().any(|mute| mute.name() == caller.name());
        let enough = if is_muted { HEARD / LOWERED } else { HEARD };
        for other in callers {
            let level = heard.tone(other.person.hz);
            let is_heard = caller.name() != other.name() && !mute.iter().any(|mute| mute.name() == other.name());
            right &= if is_heard { level > enough } else { level < NOT_HEARD };
            lines.push(format!("{} {level:.0}", if is_mine(caller, other) { "own" } else { other.name() }));
        }
        stage.story.check(caller.name(), format!("hears tones of {PEAK}: {}", lines.join(", ")), right);
    }
    callers.iter().for_each(|caller| caller.is_silent());
}

fn is_mine(caller: &Caller<'_>, other: &Caller<'_>) -> bool {
    caller.person.number == other.person.number
}

/// What a prompt says, in quotes; the music has no words, and goes by its name.
fn words(prompt: Prompt, language: Language) -> String {
    let (_, table) = WORDS.iter().find(|(code, _)| *code == language.as_str()).unwrap_or(&WORDS[0]);
    let stem = prompt.stem();
    let said = table.lines().filter_map(|line| line.split_once('\t')).find(|(name, _)| *name == stem);
    said.map_or(stem.clone(), |(_, words)| format!("\"{words}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_both_languages() {
        assert_eq!(words(Prompt::EnterConferenceId, Language::ENGLISH), "\"Please enter the conference ID.\"");
        assert_ne!(words(Prompt::Welcome, "it".parse().unwrap()), words(Prompt::Welcome, Language::ENGLISH));
    }
}
