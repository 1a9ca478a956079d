//! The main scene: three people come into a meeting with a lobby, talk, ring a fourth, and are sent home.

use super::caller::{Caller, Person, everybody_talks, reason};
use super::recognise::Part;
use super::stage::{Stage, until};
use crate::cli::Failure;
use crate::meeting::Prompt;
use crate::switchboard::ask::Told;
use crate::types::{Cause, Language};
use std::time::Duration;

pub(super) const MEETING: &str = "clients";
const CONFERENCE_ID: &str = "3140002";
pub(super) const TOLL: &str = "+390612345678";
const TOLL_FREE: &str = "+39800123456";

pub(super) const ALDO: Person = Person { name: "Aldo", number: "+390611111101", hz: 500 };
pub(super) const BEA: Person = Person { name: "Bea", number: "+390611111102", hz: 700 };
pub(super) const ANNA: Person = Person { name: "Anna", number: "+390611111103", hz: 1_100 };
pub(super) const DORA: Person = Person { name: "Dora", number: "+393331112233", hz: 1_300 };
/// Busy, and a number that nobody is rung at: premium.
const EMIL: &str = "+393334445566";
const PREMIUM: &str = "+39899123456";

pub(super) fn italian() -> Result<Language, Failure> {
    Ok("it".parse()?)
}

/// Everybody in the meeting with the lobby.
pub(super) struct Gathering<'a> {
    stage: &'a Stage,
    aldo: Caller<'a>,
    bea: Caller<'a>,
    anna: Caller<'a>,
}

impl<'a> Gathering<'a> {
    /// Aldo and Bea wait in the lobby, Anna has begun the meeting.
    pub async fn gather(stage: &'a Stage) -> Result<Gathering<'a>, Failure> {
        let (aldo, bea, anna) = tokio::try_join!(toll_caller(stage), toll_free_caller(stage), organiser(stage))?;
        let right = stage.counts(MEETING, 1, 2).await?;
        stage.story.check("bridge", "the meeting runs: Anna inside, Aldo and Bea in the lobby", right);
        Ok(Gathering { stage, aldo, bea, anna })
    }

    /// All that happens inside. Gives what Anna heard, from her call's beginning to its end.
    pub async fn hold(mut self) -> Result<Vec<i16>, Failure> {
        self.admit().await?;
        self.talk().await?;
        self.refused_and_busy().await?;
        let mut dora = self.ring_dora().await?;
        everybody_talks(self.stage, &[&self.aldo, &self.bea, &self.anna, &dora], &[]).await;
        self.mute(&dora).await?;
        self.account().await?;
        self.end_for_all(&mut dora).await?;
        Ok(self.anna.phone.sound.heard().samples)
    }

    async fn admit(&self) -> Result<(), Failure> {
        [&self.aldo, &self.bea].into_iter().for_each(Caller::listens);
        self.anna.presses("*8", "let the lobby in").await;
        let right = self.stage.counts(MEETING, 3, 0).await?;
        self.stage.story.check("bridge", "three inside, nobody in the lobby", right);
        tokio::try_join!(
            self.aldo.hears(Prompt::LobbyAdmitted, italian()?, Part::End, 4),
            self.bea.hears(Prompt::LobbyAdmitted, Language::ENGLISH, Part::End, 4),
        )?;
        Ok(())
    }

    /// Tones tell who hears whom; then words come through whole.
    async fn talk(&self) -> Result<(), Failure> {
        everybody_talks(self.stage, &[&self.aldo, &self.bea, &self.anna], &[]).await;
        self.anna.listens();
        self.aldo.says(Prompt::StillThere)?;
        self.anna.hears(Prompt::StillThere, Language::ENGLISH, Part::Beginning, 3).await?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.aldo.is_silent();
        Ok(())
    }

    async fn refused_and_busy(&self) -> Result<(), Failure> {
        let story = &self.stage.story;
        match self.stage.dial(MEETING, PREMIUM).await? {
            Told::Refused(cause) => {
                let right = cause == Cause::NumberBlocked;
                story.check("Anna", format!("has {PREMIUM} rung: refused, {}", cause.words()), right);
            }
            other => story.check("Anna", format!("has {PREMIUM} rung: {other:?}"), false),
        }
        let told = self.stage.dial(MEETING, EMIL).await?;
        let Told::Dialling(leg) = told else { return Err(Failure(format!("{EMIL} cannot be rung: {told:?}"))) };
        let ringing = self.stage.exchange.incoming(Duration::from_secs(5)).await;
        ringing.ok_or("the call to the busy phone did not arrive")?.refuse(486);
        until(async || Ok(self.stage.leg(leg).await?.cause.is_some())).await?;
        let words = self.stage.leg(leg).await?.words.unwrap_or_default();
        story.check("Anna", format!("has {EMIL} rung: {words}"), words == Cause::Busy.words());
        Ok(())
    }

    async fn ring_dora(&self) -> Result<Caller<'a>, Failure> {
        let told = self.stage.dial(MEETING, DORA.number).await?;
        let Told::Dialling(_) = told else { return Err(Failure(format!("Dora cannot be rung: {told:?}"))) };
        let ringing = self.stage.exchange.incoming(Duration::from_secs(5)).await;
        let ringing = ringing.ok_or("the call to Dora did not arrive")?;
        let shown = ringing.invitation.from_user.clone();
        self.stage.story.check(DORA.name, format!("is rung by {shown} and answers"), shown == TOLL);
        let phone = ringing.answer().await.map_err(|ended| Failure(format!("Dora's answer is refused: {ended}")))?;
        let right = self.stage.counts(MEETING, 4, 0).await?;
        self.stage.story.check("bridge", "four inside", right);
        Ok(Caller::with(self.stage, &DORA, phone))
    }

    async fn mute(&self, dora: &Caller<'_>) -> Result<(), Failure> {
        let all = [&self.aldo, &self.bea, &self.anna, dora];
        self.bea.presses("*6", "mute myself").await;
        self.bea.hears(Prompt::Muted, Language::ENGLISH, Part::End, 4).await?;
        self.bea.listens();
        self.bea.says_tone();
        let told_so = self.bea.hears(Prompt::MutedReminder, Language::ENGLISH, Part::End, 5);
        let (told_so, ()) = tokio::join!(told_so, self.anna.hears_nothing_of(&self.bea));
        told_so?;
        // "… press", and then the keys, as her number's map has them.
        self.bea.hears(Prompt::Number(6), Language::ENGLISH, Part::End, 4).await?;
        everybody_talks(self.stage, &all, &[&self.bea]).await;
        self.bea.presses("*6", "speak again").await;
        self.bea.hears(Prompt::Unmuted, Language::ENGLISH, Part::End, 4).await?;
        everybody_talks(self.stage, &all, &[]).await;
        Ok(())
    }

    /// In mid-call the money is held, and not yet charged.
    async fn account(&self) -> Result<(), Failure> {
        let balance = self.stage.balance("aurora").await?;
        let told = format!(
            "Aurora's account in mid-call: {} posted, {} of it held for four legs, {} available",
            balance.posted, balance.held, balance.available
        );
        // The busy phone cost nothing; a minute of each of four legs is set aside.
        let right = balance.posted.to_text() == "5.0000" && balance.held.0 > 0;
        self.stage.story.check("books", told, right);
        Ok(())
    }

    async fn end_for_all(&mut self, dora: &mut Caller<'_>) -> Result<(), Failure> {
        [&self.aldo, &self.bea, dora].into_iter().for_each(Caller::listens);
        self.anna.presses("##", "end for all").await;
        self.aldo.hears(Prompt::MeetingEnded, italian()?, Part::Beginning, 4).await?;
        let words = Cause::MeetingEnded.words();
        tokio::join!(
            self.aldo.is_hung_up(words),
            self.bea.is_hung_up(words),
            self.anna.is_hung_up(words),
            dora.is_hung_up(words)
        );
        let gone = self.stage.meeting(MEETING).await?.is_none();
        self.stage.story.check("bridge", "the meeting is over", gone);
        Ok(())
    }
}

async fn toll_caller(stage: &Stage) -> Result<Caller<'_>, Failure> {
    let aldo = Caller::dials(stage, &ALDO, TOLL, "toll, Rome").await?;
    aldo.hears(Prompt::Welcome, italian()?, Part::Beginning, 4).await?;
    aldo.presses(CONFERENCE_ID, "conference ID").await;
    aldo.hears(Prompt::OrganiserOrWait, italian()?, Part::Beginning, 4).await?;
    aldo.hears(Prompt::WaitingToBeAdmitted, italian()?, Part::Beginning, 12).await?;
    aldo.hears(Prompt::Music, italian()?, Part::Beginning, 8).await?;
    Ok(aldo)
}

async fn toll_free_caller(stage: &Stage) -> Result<Caller<'_>, Failure> {
    let bea = Caller::dials(stage, &BEA, TOLL_FREE, "toll-free, Italy").await?;
    bea.hears(Prompt::Welcome, italian()?, Part::Beginning, 4).await?;
    bea.presses("*", "another language").await;
    bea.hears(Prompt::EnterConferenceId, Language::ENGLISH, Part::Beginning, 4).await?;
    bea.presses(CONFERENCE_ID, "conference ID").await;
    bea.hears(Prompt::WaitingToBeAdmitted, Language::ENGLISH, Part::Beginning, 16).await?;
    bea.hears(Prompt::Music, Language::ENGLISH, Part::Beginning, 8).await?;
    Ok(bea)
}

async fn organiser(stage: &Stage) -> Result<Caller<'_>, Failure> {
    let anna = Caller::dials(stage, &ANNA, TOLL, "toll, Rome").await?;
    anna.presses("*", "another language").await;
    anna.presses(CONFERENCE_ID, "conference ID").await;
    anna.hears(Prompt::OrganiserOrWait, Language::ENGLISH, Part::Beginning, 4).await?;
    anna.presses("*", "I am the organiser").await;
    anna.hears(Prompt::EnterPin, Language::ENGLISH, Part::Beginning, 4).await?;
    anna.presses("1234#", "a wrong PIN").await;
    anna.hears(Prompt::InvalidId, Language::ENGLISH, Part::Beginning, 4).await?;
    anna.presses("4711#", "the right PIN").await;
    let right = stage.is_led(MEETING).await?;
    stage.story.check(anna.name(), "has begun the meeting, as its organiser", right);
    Ok(anna)
}

/// A caller who is refused before the answer: with a code, in words, and free.
pub(super) async fn is_refused(stage: &Stage, person: &Person, number: &str, due: Cause) {
    let name = person.name;
    match stage.exchange.call(person.number, number).await {
        Ok(phone) => {
            phone.hang_up();
            stage.story.check(name, format!("dials {number} and is answered"), false);
        }
        Err(ended) => {
            let right = ended.status == due.sip() && reason(&ended) == due.words();
            stage.story.check(name, format!("dials {number} and is refused: {ended}"), right);
        }
    }
}
