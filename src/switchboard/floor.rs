//! The meeting and its sound: what is pressed and said goes to the lobby or the meeting, what they decide to the mixer.

use super::ask::{Ask, LegView, MeetingView, Told, seconds};
use super::focus::Seats;
use super::inbound::payer_scopes;
use super::line::{Asker, Line, Wire};
use super::{Books, Output, Room, Switchboard, Who};
use crate::clock::{Mono, Now};
use crate::leg::{self, Warning};
use crate::media::{self, Missing, StreamId, Target};
use crate::meeting::{
    self, By, Command, Done, Entry, Input, Known, Lobby, LobbyInput, LobbyOutput, Meeting, Place, Pressed, Prompt, Role,
};
use crate::store;
use crate::telemetry::name;
use crate::trunk::KeysBy;
use crate::types::{Cause, LegId, MeetingId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Marks tell whose prompt was played: nobody waits, the lobby, or a leg that leaves after it.
pub(super) const NOBODY: u64 = 0;
const LOBBY: u64 = 1;
const PARTING: u64 = 2;
const KINDS: u64 = 4;

/// … and where help is.
const NO_SUCH_KEY: [Prompt; 2] = [Prompt::NoSuchKey, Prompt::Code(meeting::Verb::Help)];

/// A last word is not waited for longer than this: it is charged time.
pub(super) const LAST_WORD: Duration = Duration::from_secs(6);

impl Switchboard {
    // ------------------------------------------------------------------------------------------------------ from sound

    pub(super) fn sound(&mut self, now: Now, event: media::Event) {
        use media::Event::*;
        match event {
            Digit { stream, key, .. } => self.with_stream(stream, |desk, leg| desk.digit(now, leg, key)),
            Played { target: Target::Stream(stream), mark, .. } => {
                self.with_stream(stream, |desk, leg| desk.played(now, leg, mark));
            }
            Silent { stream, since } => {
                self.with_stream(stream, |desk, leg| desk.tell_leg(now, leg, leg::Input::Silent { last: since }));
            }
            Talking { stream, on: true } => self.with_stream(stream, |desk, leg| {
                desk.speaks_early(leg);
                desk.tell_meeting(now, leg, Input::Talking { leg });
            }),
            HandedOver { stream, stats } => self.with_stream(stream, |desk, leg| desk.handed_over(leg, stats)),
            Detached { stream, stats } => self.with_stream(stream, |desk, leg| desk.detached(leg, stats)),
            Broken { stream } => {
                self.with_stream(stream, |desk, leg| desk.tell_leg(now, leg, leg::Input::Stop(Cause::Fault)));
            }
            OneWay { stream, missing } => self.with_stream(stream, |desk, leg| desk.one_way(leg, missing)),
            Played { .. } | Talking { .. } | Heard { .. } => {}
        }
    }

    /// The call goes on: somebody may be listening. Whoever runs the bridge is told while it lasts.
    fn one_way(&self, id: LegId, missing: Missing) {
        let Some(line) = self.lines.get(&id) else { return };
        let (carrier, missing) = (line.carrier.as_str().to_owned(), missing.name());
        tracing::warn!(leg = %id, carrier, missing, "sound goes one way only");
        metrics::counter!(name::ONE_WAY, "carrier" => carrier, "missing" => missing).increment(1);
    }

    fn with_stream(&mut self, stream: StreamId, act: impl FnOnce(&mut Switchboard, LegId)) {
        if let Some(leg) = self.by_stream.get(&stream).copied() {
            act(self, leg);
        }
    }

    /// A key beside the sound: the stream knows whether it was heard there as well.
    pub(super) fn informed(&mut self, id: LegId, kind: &str, body: &[u8]) {
        let takes = self.carrier_of(id).is_some_and(|carrier| carrier.sends_keys_by(KeysBy::Info));
        let stream = self.lines.get(&id).filter(|line| takes && line.plan.is_some()).map(|line| line.stream);
        if let Some((stream, info)) = stream.zip(media::rtp::info::parse(kind, body)) {
            self.say(Output::Media(media::Command::Press { stream, key: info.key }));
        }
    }

    fn digit(&mut self, now: Now, id: LegId, key: char) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        // Nobody has picked up, and tones in an announcement are no keys.
        if line.parting.is_some() || matches!(line.wire, Wire::Early(_)) {
            return;
        }
        if line.in_lobby() {
            return self.tell_lobby(now, id, LobbyInput::Digit(key));
        }
        let asked = line.keypad.is_asked_for_a_number();
        let pressed = line.keypad.press(now.mono, key);
        if asked {
            self.stop_playing(id);
        }
        self.pressed(now, id, pressed);
        self.touch(id);
    }

    fn pressed(&mut self, now: Now, id: LegId, pressed: Vec<Pressed>) {
        for pressed in pressed {
            match pressed {
                Pressed::Verb(verb) => {
                    self.hush(id);
                    let command = Command::Verb(verb);
                    self.tell_meeting(now, id, Input::Asked { by: By::Leg(id), command });
                }
                Pressed::Number(digits) => self.number_typed(now, id, &digits),
                Pressed::NoNumber => self.play(id, &[Prompt::CallCancelled], NOBODY),
                Pressed::Nothing => self.play(id, &NO_SUCH_KEY, NOBODY),
            }
        }
    }

    /// A key that acts ends what was being said to whoever pressed it; music and ringing go on.
    fn hush(&mut self, id: LegId) {
        let Some(meeting) = self.lines.get(&id).and_then(|line| line.meeting.as_ref()) else { return };
        let participant = self.rooms.get(meeting).and_then(|room| room.meeting.roster().get(id));
        let in_the_room = participant.is_some_and(|here| here.place == Place::Inside && !here.held && !here.leaving);
        if in_the_room && !self.hears_ringing(id) {
            self.stop_playing(id);
        }
    }

    fn played(&mut self, now: Now, id: LegId, mark: u64) {
        match mark % KINDS {
            LOBBY => self.tell_lobby(now, id, LobbyInput::Played { mark: mark / KINDS }),
            PARTING => self.part(now, id),
            _ => {}
        }
    }

    fn part(&mut self, now: Now, id: LegId) {
        if let Some((_, cause)) = self.lines.get_mut(&id).and_then(|line| line.parting.take()) {
            self.tell_leg(now, id, leg::Input::Stop(cause));
        }
    }

    pub(super) fn wake_line(&mut self, now: Now, id: LegId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.armed = None;
        line.leg.wake(now);
        if let Some(lobby) = &mut line.lobby {
            lobby.wake(now.mono);
        }
        let delayed = line.delayed.take_if(|(at, _)| *at <= now.mono);
        let pressed = line.keypad.wake(now.mono);
        let parting = line.parting.is_some_and(|(at, _)| at <= now.mono);
        let late = line.end.as_ref().is_some_and(|ended| ended.by <= now.mono);
        if let Some((_, input)) = delayed {
            self.tell_lobby(now, id, input);
        }
        self.pressed(now, id, pressed.into_iter().collect());
        if parting {
            self.part(now, id);
        }
        if late {
            self.close_account(id);
        }
        self.touch(id);
    }

    // ------------------------------------------------------------------------------------------------------- the lobby

    pub(super) fn open_lobby(&mut self, now: Now, id: LegId, entry: Entry) {
        let config = self.config.lobby;
        let digits = self.facts.conference_id_len().unwrap_or(config.conference_id_digits);
        let config = meeting::LobbyConfig { conference_id_digits: digits, ..config };
        if let Some(line) = self.lines.get_mut(&id) {
            line.lobby = Some(Lobby::new(config, entry, line.languages.clone(), now.mono));
            self.touch(id);
        }
    }

    fn tell_lobby(&mut self, now: Now, id: LegId, input: LobbyInput) {
        if let Some(lobby) = self.lines.get_mut(&id).and_then(|line| line.lobby.as_mut()) {
            lobby.handle(now.mono, input);
            self.touch(id);
        }
    }

    /// An answer that guessers wait for, the right ones too.
    fn tell_lobby_later(&mut self, now: Now, id: LegId, input: LobbyInput) {
        let delay = self.guard.delay(now.mono);
        if delay.is_zero() {
            return self.tell_lobby(now, id, input);
        }
        if let Some(line) = self.lines.get_mut(&id) {
            line.delayed = Some((now.mono + delay, input));
            self.touch(id);
        }
    }

    fn lobby_says(&mut self, now: Now, id: LegId, output: LobbyOutput) {
        match output {
            LobbyOutput::Play { prompts, mark } => {
                self.stop_playing(id);
                self.play(id, &prompts, mark * KINDS + LOBBY);
            }
            LobbyOutput::Stop => self.stop_playing(id),
            LobbyOutput::Speak(language) => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.language = language;
                }
            }
            LobbyOutput::LookUp { conference_id } => self.look_up(now, id, &conference_id),
            LobbyOutput::Fund { meeting } => self.fund(now, id, meeting),
            LobbyOutput::CheckPin { meeting, pin } => self.check_pin(now, id, &meeting, &pin),
            LobbyOutput::Enter { meeting, role } => {
                if role == Role::Organiser {
                    self.say(Output::Books(Books::Lead(id)));
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.leads = true;
                    }
                }
                self.enter(now, id, meeting, role, false);
            }
            LobbyOutput::Confirmed => {
                if let Some(meeting) = self.lines.get(&id).and_then(|line| line.meeting.clone()) {
                    self.enter(now, id, meeting, Role::Attendee, true);
                }
            }
            LobbyOutput::HangUp(cause) => self.tell_leg(now, id, leg::Input::Stop(cause)),
        }
    }

    fn look_up(&mut self, now: Now, id: LegId, conference_id: &str) {
        let Some(line) = self.lines.get(&id) else { return };
        let (caller, carrier) = (line.guesser(), line.carrier.clone());
        if let Err(cause) = self.guard.may_try(now.mono, &caller, None) {
            return self.tell_lobby(now, id, LobbyInput::Refused { cause, instead: None });
        }
        let found = self.facts.meeting_named(conference_id);
        let ours = found.filter(|m| line.house.as_ref().is_none_or(|house| *house == m.settings.organisation));
        let answer = match ours.map(|meeting| meeting.settings.id.clone()) {
            Some(meeting) => LobbyInput::Found(self.known(&meeting)),
            None => {
                let closing = self.guard.tried_in_vain(now.mono, &caller, None);
                self.see_wrong_try(now, carrier.clone());
                self.tell_closing(now, id, (&carrier, &caller), None, closing);
                LobbyInput::NotFound
            }
        };
        self.tell_lobby_later(now, id, answer);
    }

    /// What the lobby needs to know of a meeting.
    pub(super) fn known(&self, meeting: &MeetingId) -> Known {
        let started = self.rooms.get(meeting).is_some_and(|room| room.meeting.is_started());
        let may_start = self.facts.meeting(meeting).is_some_and(|m| m.settings.callers_may_start);
        let has_pin = self.facts.payer_of(meeting).is_some_and(|(user, _)| user.has_pin());
        Known { meeting: meeting.clone(), ask_organiser: !started && !may_start && has_pin }
    }

    fn fund(&mut self, now: Now, id: LegId, meeting: MeetingId) {
        let scopes = payer_scopes(&self.facts, &meeting, now.wall, None);
        if let Err(cause) = self.guard.enter(now.mono, id, &scopes) {
            metrics::counter!(name::CALLS_REFUSED, "cause" => cause.slug()).increment(1);
            if let Some(untold) = self.ration_of_house.take(now.mono) {
                tracing::info!(leg = %id, cause = cause.slug(), meeting = meeting.as_str(), untold, "call refused");
            }
            return self.tell_lobby(now, id, LobbyInput::Refused { cause, instead: None });
        }
        let longest_ms = self.leg_config(Some(&meeting)).longest_ms;
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.leg.limit(longest_ms);
        line.meeting = Some(meeting.clone());
        line.leg.handle(now, leg::Input::Named);
        let elapsed_ms = line.leg.elapsed_ms(now.mono);
        let name = store::NamePayer { leg: id, meeting, elapsed_ms, now: now.wall };
        self.say(Output::Books(Books::Name(name)));
    }

    fn check_pin(&mut self, now: Now, id: LegId, meeting: &MeetingId, pin: &str) {
        let Some(line) = self.lines.get(&id) else { return };
        let (caller, carrier) = (line.guesser(), line.carrier.clone());
        if let Err(cause) = self.guard.may_try(now.mono, &caller, Some(meeting)) {
            return self.tell_lobby(now, id, LobbyInput::Refused { cause, instead: None });
        }
        let answer = if self.facts.check_pin(meeting, pin) {
            self.guard.let_in(&caller, meeting);
            LobbyInput::PinRight
        } else {
            let closing = self.guard.tried_in_vain(now.mono, &caller, Some(meeting));
            self.see_wrong_try(now, carrier.clone());
            self.tell_closing(now, id, (&carrier, &caller), Some(meeting), closing);
            LobbyInput::PinWrong
        };
        self.tell_lobby_later(now, id, answer);
    }

    // ----------------------------------------------------------------------------------------------------- the meeting

    fn enter(&mut self, now: Now, id: LegId, meeting: MeetingId, role: Role, invited: bool) {
        let Some(settings) = self.facts.meeting(&meeting).map(|known| known.settings.clone()) else {
            return self.tell_leg(now, id, leg::Input::Stop(Cause::UnknownMeeting));
        };
        if !self.rooms.contains_key(&meeting) {
            let room = media::RoomId(self.number());
            let machine = Meeting::new(settings, self.config.meeting.clone(), now.mono);
            self.rooms.insert(
                meeting.clone(),
                Room { meeting: machine, id: room, recording: None, armed: None, seats: Seats::default() },
            );
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.present = true;
        line.meeting = Some(meeting.clone());
        let (leg, number) = (id, line.person());
        let for_gone = line.asker == Some(Asker::Gone);
        let input = match invited {
            true => Input::Bring { leg, number, for_gone },
            false => Input::Enter { leg, role, number },
        };
        self.tell_room(now, &meeting, input);
    }

    pub(super) fn tell_meeting(&mut self, now: Now, id: LegId, input: Input) {
        let here = self.lines.get(&id).filter(|line| line.present).and_then(|line| line.meeting.clone());
        if let Some(meeting) = here {
            self.tell_room(now, &meeting, input);
        }
    }

    pub(super) fn tell_room(&mut self, now: Now, meeting: &MeetingId, input: Input) -> Done {
        let Some(room) = self.rooms.get_mut(meeting) else { return Done::NoSuchLeg };
        let done = room.meeting.handle(now.mono, input);
        self.touched_rooms.push_back(meeting.clone());
        done
    }

    pub(super) fn leave_meeting(&mut self, now: Now, id: LegId) {
        self.tell_meeting(now, id, Input::Left { leg: id });
        self.sees_no_more(id);
        if let Some(line) = self.lines.get_mut(&id) {
            line.present = false;
        }
    }

    fn room_says(&mut self, now: Now, meeting: &MeetingId, output: meeting::Output) {
        use meeting::Output::*;
        match output {
            Join { leg } => self.join(now, leg, meeting),
            Wait { leg, prompts } => {
                self.stop_playing(leg);
                self.play(leg, &prompts, NOBODY);
                self.play_music(leg);
            }
            Mute { leg, on } => self.with_line(leg, |line| media::Command::Mute { stream: line.stream, on }),
            Deafen { leg, on } => self.with_line(leg, |line| media::Command::Deafen { stream: line.stream, on }),
            Hold { leg, on: true } => self.put_on_hold(leg),
            Hold { leg, on: false } => self.join(now, leg, meeting),
            AskNumber { leg } => {
                if let Some(line) = self.lines.get_mut(&leg) {
                    line.keypad.ask_number(now.mono);
                    self.touch(leg);
                }
            }
            Record { step } => self.record(meeting, step),
            Dial { by, to } => self.dial_by_keys(now, by, meeting.clone(), to),
            CancelCalls { by } => {
                if !self.cancel_calls(now, by) {
                    self.play(by, &NO_SUCH_KEY, NOBODY);
                }
            }
            Say { leg, prompts } => self.play(leg, &prompts, NOBODY),
            SayAll { prompts } => self.play_to_all(meeting, &prompts),
            Release { leg, cause, prompts } => self.release(now, leg, cause, &prompts, LAST_WORD),
            Ended => drop(self.cancel_called(now, meeting)),
            Closed => {
                self.see_meeting_over(now, meeting);
                let Some(room) = self.rooms.remove(meeting) else { return };
                self.unseen(meeting, &room);
                if let Some(at) = room.armed {
                    self.timers.remove(&(at, Who::Meeting(meeting.clone())));
                }
            }
        }
    }

    fn join(&mut self, now: Now, id: LegId, meeting: &MeetingId) {
        let Some(room) = self.rooms.get(meeting).map(|room| room.id) else { return };
        self.stop_playing(id);
        self.with_line(id, |line| media::Command::Join { stream: line.stream, room });
        if let Some(line) = self.lines.get_mut(&id) {
            line.joined.get_or_insert(now.wall);
        }
        self.track(id, meeting);
        self.tell_lobby(now, id, LobbyInput::Entered);
    }

    fn put_on_hold(&mut self, id: LegId) {
        self.with_line(id, |line| media::Command::Leave { stream: line.stream });
        self.play_music(id);
    }

    /// Out of the room, a last word that is not waited for longer than `word`, then the end.
    pub(super) fn release(&mut self, now: Now, id: LegId, cause: Cause, prompts: &[Prompt], word: Duration) {
        self.leave_meeting(now, id);
        self.with_line(id, |line| media::Command::Leave { stream: line.stream });
        self.stop_playing(id);
        self.play(id, prompts, PARTING);
        if let Some(line) = self.lines.get_mut(&id) {
            line.lobby = None;
            line.parting = Some((now.mono + word, cause));
            self.touch(id);
        }
    }

    // ---------------------------------------------------------------------------------------------------- what is said

    fn with_line(&mut self, id: LegId, command: impl FnOnce(&Line) -> media::Command) {
        let attached = |line: &&Line| matches!(line.wire, Wire::Attached(_));
        if let Some(command) = self.lines.get(&id).filter(attached).map(command) {
            self.say(Output::Media(command));
        }
    }

    pub(super) fn stop_playing(&mut self, id: LegId) {
        self.with_line(id, |line| media::Command::Stop { target: Target::Stream(line.stream) });
    }

    pub(super) fn play(&mut self, id: LegId, prompts: &[Prompt], mark: u64) {
        let sounds = self.sounds.clone();
        self.with_line(id, |line| {
            let clips = sounds.clips(&Prompt::spell(prompts, line.keypad.map()), line.language);
            media::Command::Play { target: Target::Stream(line.stream), clips, repeat: false, mark, barge: false }
        });
        // What is said ends what is played on and on: whoever waits for an answer hears it ring again after it.
        if self.hears_ringing(id) {
            self.play_on_and_on(id, Prompt::Ringback);
        }
    }

    fn play_music(&mut self, id: LegId) {
        self.play_on_and_on(id, Prompt::Music);
    }

    pub(super) fn play_on_and_on(&mut self, id: LegId, prompt: Prompt) {
        let sounds = self.sounds.clone();
        self.with_line(id, |line| {
            let clips = sounds.clips(&[prompt], line.language);
            media::Command::Play {
                target: Target::Stream(line.stream),
                clips,
                repeat: true,
                mark: NOBODY,
                barge: false,
            }
        });
    }

    /// In the language of the meeting, or of whoever has been inside longest.
    fn play_to_all(&mut self, meeting: &MeetingId, prompts: &[Prompt]) {
        let Some(room) = self.rooms.get(meeting) else { return };
        let first = room.meeting.roster().at(Place::Inside).first().and_then(|leg| self.lines.get(leg));
        let own = self.facts.meeting(meeting).and_then(|known| known.language);
        let Some(language) = own.or(first.map(|line| line.language)) else { return };
        let clips = self.sounds.clips(prompts, language);
        let (target, mark) = (Target::Room(room.id), NOBODY);
        self.say(Output::Media(media::Command::Play { target, clips, repeat: false, mark, barge: false }));
    }

    pub(super) fn warn(&mut self, id: LegId, warning: Warning) {
        let words = match warning {
            Warning::FiveMinutes => Prompt::CreditFiveMinutes,
            Warning::OneMinute => Prompt::CreditOneMinute,
            Warning::TenSeconds => Prompt::CreditTenSeconds,
        };
        self.play(id, &[Prompt::WarningTone, words], NOBODY);
    }

    // ------------------------------------------------------------------------------------------------- letting machines speak

    pub(super) fn drain_line(&mut self, now: Now, id: LegId) {
        while let Some(output) = self.lines.get_mut(&id).and_then(|line| line.leg.poll()) {
            self.leg_says(now, id, output);
        }
        while let Some(output) =
            self.lines.get_mut(&id).and_then(|line| line.lobby.as_mut()).and_then(|lobby| lobby.poll())
        {
            self.lobby_says(now, id, output);
        }
        self.arm(id);
    }

    fn arm(&mut self, id: LegId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let due = line.deadline();
        let before = std::mem::replace(&mut line.armed, due);
        if before != due {
            exchange(&mut self.timers, Who::Leg(id), before, due);
        }
    }

    pub(super) fn disarm(&mut self, line: &Line) {
        exchange(&mut self.timers, Who::Leg(line.id), line.armed, None);
    }

    pub(super) fn drain_room(&mut self, now: Now, meeting: &MeetingId) {
        while let Some(output) = self.rooms.get_mut(meeting).and_then(|room| room.meeting.poll()) {
            self.room_says(now, meeting, output);
        }
        let Some(room) = self.rooms.get_mut(meeting) else { return };
        let due = room.meeting.deadline();
        let before = std::mem::replace(&mut room.armed, due);
        if before != due {
            exchange(&mut self.timers, Who::Meeting(meeting.clone()), before, due);
        }
        self.glance(now, meeting);
    }

    // ---------------------------------------------------------------------------------------------------- what people ask

    pub(super) fn asked(&mut self, now: Now, token: u64, ask: Ask) {
        let told = match ask {
            Ask::Dial { meeting, to } => return self.dial(now, Asker::Desk(token), meeting, to),
            Ask::Transfer { leg, to } => return self.transfer(token, leg, to),
            Ask::Legs => Told::Legs(self.views(now)),
            Ask::Leg(leg) => self.leg_view(now, leg).map_or(Told::Unknown("leg"), |view| Told::Leg(Box::new(view))),
            Ask::Meetings => Told::Meetings(self.meeting_views()),
            Ask::Calls(leg) => self.call_ids(leg).map_or(Told::Unknown("leg"), Told::Calls),
            Ask::Carriers => Told::Carriers(self.carrier_views(now)),
            Ask::Mute { leg, on } => self.order(now, leg, Command::Mute { leg, on }),
            Ask::Deafen { leg, on } => self.order(now, leg, Command::Deafen { leg, on }),
            Ask::Hold { leg, on } => self.order(now, leg, Command::Hold { leg, on }),
            Ask::Promote { leg, role } => self.order(now, leg, Command::Promote { leg, role }),
            Ask::Remove { leg } => self.remove(now, leg),
            Ask::Ends(organisation) => Told::Ends(self.ends(now, &organisation)),
            Ask::Revoked(legs) => {
                legs.into_iter().for_each(|leg| self.tell_leg(now, leg, leg::Input::Stop(Cause::Revoked)));
                Told::Done
            }
            Ask::Review => {
                self.review();
                Told::Done
            }
            Ask::End { meeting } => match self.order_meeting(now, &meeting, Command::Verb(meeting::Verb::EndAll)) {
                // Nobody is there, but somebody may be rung.
                Told::Unknown(_) if self.cancel_called(now, &meeting) => Told::Done,
                told => told,
            },
            Ask::Record { meeting, step } => self.order_meeting(now, &meeting, Command::Record { step }),
            Ask::Lock { meeting, on } => self.order_meeting(now, &meeting, Command::Lock { on }),
            Ask::Admit { meeting } => self.order_meeting(now, &meeting, Command::Verb(meeting::Verb::Admit)),
        };
        self.say(Output::Told { token, told });
    }

    fn order(&mut self, now: Now, leg: LegId, command: Command) -> Told {
        let here = self.lines.get(&leg).filter(|line| line.present).and_then(|line| line.meeting.clone());
        here.map_or(Told::Unknown("leg in a meeting"), |meeting| self.order_meeting(now, &meeting, command))
    }

    fn order_meeting(&mut self, now: Now, meeting: &MeetingId, command: Command) -> Told {
        if !self.rooms.contains_key(meeting) {
            return Told::Unknown("running meeting");
        }
        match self.tell_room(now, meeting, Input::Asked { by: By::Desk, command }) {
            Done::Yes => Told::Done,
            Done::NoSuchLeg => Told::Unknown("leg in this meeting"),
            Done::Not(why) => Told::Not(why),
        }
    }

    /// In the meeting with a word, elsewhere at once.
    fn remove(&mut self, now: Now, leg: LegId) -> Told {
        match self.lines.get(&leg) {
            None => Told::Unknown("leg"),
            Some(line) if line.present => self.order(now, leg, Command::Remove { leg }),
            Some(line) => {
                let cause = if line.leg.is_answered() { Cause::Removed } else { Cause::Cancelled };
                self.tell_leg(now, leg, leg::Input::Stop(cause));
                Told::Done
            }
        }
    }

    fn views(&self, now: Now) -> Vec<LegView> {
        let mut lines: Vec<&Line> = self.lines.values().filter(|line| line.end.is_none()).collect();
        lines.sort_by_key(|line| line.id);
        lines.into_iter().map(|line| self.view(line, line.leg.elapsed_ms(now.mono))).collect()
    }

    fn leg_view(&self, now: Now, leg: LegId) -> Option<LegView> {
        let live = self.lines.get(&leg).map(|line| self.view(line, line.leg.elapsed_ms(now.mono)));
        let name = leg.to_string();
        live.or_else(|| self.over.iter().rev().find(|(view, _)| view.id == name).map(|(view, _)| view.clone()))
    }

    fn call_ids(&self, leg: LegId) -> Option<Vec<String>> {
        let name = leg.to_string();
        let live = self.lines.get(&leg).map(|line| line.call_ids.clone());
        live.or_else(|| self.over.iter().rev().find(|(view, _)| view.id == name).map(|(_, call_ids)| call_ids.clone()))
    }

    pub(super) fn view(&self, line: &Line, elapsed_ms: u64) -> LegView {
        let participant = line.meeting.as_ref().filter(|_| line.present).and_then(|meeting| {
            let room = self.rooms.get(meeting)?;
            room.meeting.roster().get(line.id)
        });
        let place = participant.map(|participant| participant.place);
        let state = match (&line.end, line.leg.is_answered(), place) {
            (Some(_), _, _) => "over",
            (None, false, _) if line.leg.stamps().ringing.is_some() => "ringing",
            (None, false, _) => "invited",
            (None, true, Some(Place::Inside)) => "meeting",
            (None, true, Some(_)) => "waiting",
            (None, true, None) => "lobby",
        };
        let cause = line.end.as_ref().map(|ended| ended.end.cause);
        let payer = line.meeting.as_ref().and_then(|meeting| self.facts.payer_of(meeting));
        LegView {
            id: line.id.to_string(),
            direction: if line.is_inbound() { "in" } else { "out" }.into(),
            state: state.into(),
            number: line.number.to_string(),
            caller: line.caller.map(|caller| caller.to_string()),
            withheld: line.identity.as_ref().is_some_and(|identity| identity.withheld),
            carrier: Some(line.carrier.to_string()),
            organisation: payer.map(|(_, organisation)| organisation.id.to_string()),
            meeting: line.meeting.as_ref().map(MeetingId::to_string),
            role: participant.map(|participant| participant.role.word().into()),
            muted: participant.is_some_and(|participant| participant.muted),
            began: seconds(line.leg.stamps().invited.wall),
            elapsed_ms,
            cause: cause.map(|cause| cause.slug().into()),
            words: cause.map(|cause| cause.words().into()),
        }
    }

    fn meeting_views(&self) -> Vec<MeetingView> {
        let view = |room: &Room| {
            let settings = room.meeting.settings();
            let roster = room.meeting.roster();
            MeetingView {
                id: settings.id.to_string(),
                conference_id: settings.conference_id.clone(),
                organiser: settings.organiser.to_string(),
                organisation: settings.organisation.to_string(),
                locked: room.meeting.is_locked(),
                recording: room.meeting.recording().word().into(),
                started: room.meeting.is_started(),
                inside: roster.inside(),
                waiting: roster.len() - roster.inside(),
                legs: roster.all().iter().map(LegId::to_string).collect(),
            }
        };
        let mut views: Vec<MeetingView> = self.rooms.values().map(view).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }
}

/// One entry of the timers for another.
fn exchange(timers: &mut BTreeSet<(Mono, Who)>, who: Who, before: Option<Mono>, after: Option<Mono>) {
    if let Some(at) = before {
        timers.remove(&(at, who.clone()));
    }
    if let Some(at) = after {
        timers.insert((at, who));
    }
}
