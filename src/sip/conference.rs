//! What a conference looks like to whoever watches it (RFC 4575), and the documents that say so: the whole of it, or what has
//! changed since the last one.
//!
//! A document is bounded. Of a conference that does not fit, the first document has the figures of the whole and nobody's name
//! (`users` left out, which says nothing of them), and the people follow in documents of changes, in the order in which they
//! came. Each goes on where the one before had to end, and begins anew after the last: whoever changes all the time is told no
//! more often than the others.

use crate::clock::Wall;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What our NOTIFYs carry (RFC 4575 section 3.5), and the package's name.
pub(in crate::sip) const KIND: &str = "application/conference-info+xml";
pub(in crate::sip) const PACKAGE: &str = "conference";

/// A conference at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conference {
    /// How many it takes.
    pub most: usize,
    /// How many hear each other.
    pub count: usize,
    /// It has begun.
    pub active: bool,
    /// Newcomers are turned away.
    pub locked: bool,
    /// By the order in which they came: a number is never given to another.
    pub people: BTreeMap<u32, Person>,
}

/// One of them, as all others may see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As it may be shown, digits perhaps hidden; `None`: withheld.
    pub number: Option<String>,
    pub role: &'static str,
    pub presence: Presence,
    /// Their sound is let through to the others; the others' to them.
    pub speaks: bool,
    pub hears: bool,
    /// We called them.
    pub is_called: bool,
    /// In the room since then.
    pub since: Option<Wall>,
}

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// To be let in, or for the beginning.
    Waiting,
    Inside,
    /// Out of the room for a while.
    Held,
    /// Told to go.
    Leaving,
}

/// What was told of a conference so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sip) struct Told {
    figures: (usize, bool, bool),
    people: BTreeMap<u32, Person>,
}

/// Whose turn it is in the next document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sip) struct Turn {
    /// The last person who was told of.
    seat: u32,
    /// The figures left no room for anybody: now they come after them.
    is_theirs: bool,
}

/// A document, and what is known of whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Document {
    pub text: String,
    pub told: Told,
    pub turn: Turn,
    /// Nothing is left to be told.
    pub is_all: bool,
}

impl Conference {
    const fn figures(&self) -> (usize, bool, bool) {
        (self.count, self.active, self.locked)
    }

    /// The document for whoever was told that much: all of it where that is nothing, else what has changed; `None` where
    /// nothing has. `entity` is the conference's address, `room` the bytes that there are; one piece of news is told in any
    /// case, so that there is an end to it.
    pub(in crate::sip) fn document(
        &self,
        told: Option<&Told>,
        turn: Turn,
        (entity, version): (&str, u32),
        room: usize,
    ) -> Option<Document> {
        let Some(told) = told else { return Some(self.whole(turn, (entity, version), room)) };
        let (mut next, mut turn) = (told.clone(), turn);
        let mut text = begin(entity, "partial", version);
        let room = room.saturating_sub(text.len() + END.len() + USERS_PARTIAL.len() + USERS_END.len());
        let changes = self.changes(told, turn.seat);
        let mut figures = String::new();
        if told.figures != self.figures() {
            self.write_figures(&mut figures);
        }
        let late = if turn.is_theirs && !changes.is_empty() { std::mem::take(&mut figures) } else { String::new() };
        let mut users = String::new();
        for (seat, change) in changes {
            let one = change.map_or_else(|was| deleted(seat, was), |is| person(seat, is));
            let length = figures.len() + users.len();
            if length > 0 && length + one.len() > room {
                break;
            }
            users.push_str(&one);
            turn.seat = seat;
            match change {
                Ok(is) => drop(next.people.insert(seat, is.clone())),
                Err(_) => drop(next.people.remove(&seat)),
            }
        }
        if users.len() + late.len() <= room {
            figures.push_str(&late);
        }
        if users.is_empty() && figures.is_empty() {
            return None;
        }
        if !figures.is_empty() {
            next.figures = self.figures();
        }
        text.push_str(&figures);
        if !users.is_empty() {
            [USERS_PARTIAL, &users, USERS_END].iter().for_each(|part| text.push_str(part));
        }
        text.push_str(END);
        turn.is_theirs = users.is_empty();
        let is_all = next.people == self.people && next.figures == self.figures();
        Some(Document { text, told: next, turn, is_all })
    }

    /// How many people there is something to tell of.
    pub(in crate::sip) fn untold(&self, told: &Told) -> usize {
        self.changes(told, 0).len()
    }

    /// Who is otherwise than they were, and who is gone (`Err`, as they were): first those after a seat, then the others.
    fn changes<'a>(&'a self, told: &'a Told, after: u32) -> Vec<(u32, Result<&'a Person, &'a Person>)> {
        let gone = told.people.iter().filter(|(seat, _)| !self.people.contains_key(seat));
        let here = self.people.iter().filter(|(seat, is)| told.people.get(seat) != Some(is));
        let all = gone.map(|(seat, was)| (*seat, Err(was))).chain(here.map(|(seat, is)| (*seat, Ok(is))));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(seat, _)| (*seat <= after, *seat));
        all
    }

    fn whole(&self, turn: Turn, (entity, version): (&str, u32), room: usize) -> Document {
        let mut text = begin(entity, "full", version);
        let most = self.most;
        text.push_str(&format!(
            "<conference-description><maximum-user-count>{most}</maximum-user-count></conference-description>"
        ));
        self.write_figures(&mut text);
        let figures = self.figures();
        let before = text.len();
        text.push_str(USERS);
        for (seat, is) in &self.people {
            text.push_str(&person(*seat, is));
            if text.len() + USERS_END.len() + END.len() > room {
                text.truncate(before);
                text.push_str(END);
                let (told, turn) = (Told { figures, people: BTreeMap::new() }, Turn { is_theirs: true, ..turn });
                return Document { text, told, turn, is_all: false };
            }
        }
        text.push_str(USERS_END);
        text.push_str(END);
        Document { text, told: Told { figures, people: self.people.clone() }, turn, is_all: true }
    }

    fn write_figures(&self, text: &mut String) {
        let Conference { count, active, locked, .. } = self;
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "<conference-state><user-count>{count}</user-count><active>{active}</active><locked>{locked}</locked>\
             </conference-state>"
        );
    }
}

const USERS: &str = "<users>";
const USERS_PARTIAL: &str = "<users state=\"partial\">";
const USERS_END: &str = "</users>";
const END: &str = "</conference-info>";

fn begin(entity: &str, state: &str, version: u32) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
         entity=\"{}\" state=\"{state}\" version=\"{version}\">",
        escaped(entity)
    )
}

/// An address that is nobody's (RFC 3323 section 4.1.1.3), of this person alone: two may share a number, and two numbers may
/// look alike once digits are hidden. Nobody can call it: whoever sees it has learned nothing that leads to anybody.
fn entity(seat: u32, person: &Person) -> String {
    let name = if person.number.is_some() { "seat" } else { "anonymous" };
    format!("sip:{name}{seat}@anonymous.invalid")
}

fn deleted(seat: u32, was: &Person) -> String {
    format!("<user entity=\"{}\" state=\"deleted\"/>", entity(seat, was))
}

fn person(seat: u32, is: &Person) -> String {
    let entity = entity(seat, is);
    let shown = escaped(is.number.as_deref().unwrap_or("Anonymous"));
    let role = escaped(is.role);
    let method = if is.is_called { "dialed-out" } else { "dialed-in" };
    let when = is.since.and_then(stamp).map(|when| format!("<joining-info><when>{when}</when></joining-info>"));
    let (status, media) = (is.status(), is.media());
    format!(
        "<user entity=\"{entity}\"><display-text>{shown}</display-text><roles><entry>{role}</entry></roles>\
         <endpoint entity=\"{entity}\"><status>{status}</status><joining-method>{method}</joining-method>{}\
         <media id=\"1\"><type>audio</type><status>{media}</status></media></endpoint></user>",
        when.unwrap_or_default()
    )
}

impl Person {
    /// RFC 4575 section 5.7.3.
    const fn status(&self) -> &'static str {
        match self.presence {
            Presence::Waiting => "pending",
            Presence::Inside if !self.speaks => "muted-via-focus",
            Presence::Inside => "connected",
            Presence::Held => "on-hold",
            Presence::Leaving => "disconnecting",
        }
    }

    /// The directions of their sound, as they have it.
    const fn media(&self) -> &'static str {
        match (self.presence, self.speaks, self.hears) {
            (Presence::Inside, true, true) => "sendrecv",
            (Presence::Inside, true, false) => "sendonly",
            (Presence::Inside, false, true) => "recvonly",
            _ => "inactive",
        }
    }
}

/// A moment as XML Schema writes it, to the second.
fn stamp(at: Wall) -> Option<String> {
    Timestamp::from_second(at.micros().div_euclid(1_000_000)).ok().map(|stamp| stamp.to_string())
}

/// A text within an element or an attribute. What XML 1.0 has no way to write (section 2.2) becomes U+FFFD; line ends and tabs
/// are written by their numbers, since a reader would make others of them (sections 2.11 and 3.3.3).
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\t' => safe.push_str("&#9;"),
            '\n' => safe.push_str("&#10;"),
            '\r' => safe.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTITY: &str = "sip:token@192.0.2.1:5060";

    fn inside(number: Option<&str>) -> Person {
        Person {
            number: number.map(str::to_owned),
            role: "attendee",
            presence: Presence::Inside,
            speaks: true,
            hears: true,
            is_called: false,
            since: Some(Wall::from_micros(1_795_732_715_999_999)),
        }
    }

    fn of(people: impl IntoIterator<Item = (u32, Person)>) -> Conference {
        let people: BTreeMap<u32, Person> = people.into_iter().collect();
        Conference { most: 10, count: people.len(), active: true, locked: false, people }
    }

    #[test]
    fn all_of_it_is_told_once_and_then_what_changes() {
        let mut conference = of([(1, inside(Some("+39061111****"))), (2, inside(None))]);
        let say = |conference: &Conference, told: Option<&Told>, version: u32| {
            conference.document(told, Turn::default(), (ENTITY, version), 10_000)
        };
        let whole = say(&conference, None, 1).unwrap();
        assert_eq!(
            whole.text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
             entity=\"sip:token@192.0.2.1:5060\" state=\"full\" version=\"1\"><conference-description>\
             <maximum-user-count>10</maximum-user-count></conference-description><conference-state><user-count>2\
             </user-count><active>true</active><locked>false</locked></conference-state><users>\
             <user entity=\"sip:seat1@anonymous.invalid\"><display-text>+39061111****</display-text>\
             <roles><entry>attendee</entry></roles><endpoint entity=\"sip:seat1@anonymous.invalid\">\
             <status>connected</status><joining-method>dialed-in</joining-method><joining-info>\
             <when>2026-11-26T22:38:35Z</when></joining-info><media id=\"1\"><type>audio</type><status>sendrecv</status>\
             </media></endpoint></user><user entity=\"sip:anonymous2@anonymous.invalid\"><display-text>Anonymous\
             </display-text><roles><entry>attendee</entry></roles><endpoint entity=\"sip:anonymous2@anonymous.invalid\">\
             <status>connected</status><joining-method>dialed-in</joining-method><joining-info>\
             <when>2026-11-26T22:38:35Z</when></joining-info><media id=\"1\"><type>audio</type><status>sendrecv</status>\
             </media></endpoint></user></users></conference-info>"
        );
        assert!(whole.is_all);
        assert_eq!(say(&conference, Some(&whole.told), 2), None, "nothing has changed");

        conference.people.get_mut(&1).unwrap().speaks = false;
        let muted = say(&conference, Some(&whole.told), 2).unwrap();
        assert!(
            muted.text.contains("state=\"partial\" version=\"2\"><users state=\"partial\"><user entity=\"sip:seat1@")
        );
        assert!(muted.text.contains("<status>muted-via-focus</status>") && muted.text.contains("recvonly"));
        assert!(!muted.text.contains("conference-state") && !muted.text.contains("anonymous2"), "{}", muted.text);

        conference.people.remove(&2);
        conference.count = 1;
        let gone = say(&conference, Some(&muted.told), 3).unwrap();
        assert!(gone.text.contains("<user entity=\"sip:anonymous2@anonymous.invalid\" state=\"deleted\"/></users>"));
        assert!(gone.text.contains("<user-count>1</user-count>") && !gone.text.contains("+39"), "{}", gone.text);
        assert!(gone.is_all);
    }

    #[test]
    fn each_standing_has_its_words() {
        for (presence, speaks, hears, status, media) in [
            (Presence::Waiting, true, true, "pending", "inactive"),
            (Presence::Inside, true, true, "connected", "sendrecv"),
            (Presence::Inside, true, false, "connected", "sendonly"),
            (Presence::Inside, false, true, "muted-via-focus", "recvonly"),
            (Presence::Inside, false, false, "muted-via-focus", "inactive"),
            (Presence::Held, true, true, "on-hold", "inactive"),
            (Presence::Leaving, true, true, "disconnecting", "inactive"),
        ] {
            let person = Person { presence, speaks, hears, ..inside(None) };
            assert_eq!((person.status(), person.media()), (status, media));
        }
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        for (text, written) in [
            ("Tom & \"Jerry\" <x> 'y'", "Tom &amp; &quot;Jerry&quot; &lt;x&gt; &apos;y&apos;"),
            ("a\rb\nc\td", "a&#13;b&#10;c&#9;d"),
            ("\0\u{1}\u{8}\u{b}\u{c}\u{1f}", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("\u{fffe}\u{ffff}", "\u{fffd}\u{fffd}"),
            ("]]>", "]]&gt;"),
            ("\u{7f}\u{85}\u{1f600}ü", "\u{7f}\u{85}\u{1f600}ü"),
        ] {
            assert_eq!(escaped(text), written);
        }
    }

    /// What a reader of RFC 4575 section 4.4 knows after a document.
    fn read(known: &mut BTreeMap<String, String>, text: &str) {
        if text.contains("state=\"full\"") {
            known.clear();
        }
        for user in text.split("<user ").skip(1) {
            let entity = user.split('"').nth(1).unwrap().to_owned();
            if user.split('>').next().unwrap().contains("state=\"deleted\"") {
                assert!(known.remove(&entity).is_some(), "{entity} was not known");
            } else {
                known.insert(entity, user.split("<status>").nth(1).unwrap().split('<').next().unwrap().to_owned());
            }
        }
    }

    fn as_read(conference: &Conference) -> BTreeMap<String, String> {
        conference.people.iter().map(|(seat, is)| (entity(*seat, is), is.status().to_owned())).collect()
    }

    #[test]
    fn a_crowd_is_told_piece_by_piece() {
        let crowd = of((1..=1_000).map(|seat| (seat, inside(Some("+39061111****")))));
        for (room, most) in [(700, 1_001), (48 * 1024, 12)] {
            let (mut told, mut turn, mut known, mut pieces) = (None, Turn::default(), BTreeMap::new(), 0);
            while let Some(document) = crowd.document(told.as_ref(), turn, (ENTITY, pieces + 1), room) {
                assert!(document.text.len() <= room.max(900), "{} of {room}", document.text.len());
                assert_eq!(pieces == 0, document.text.contains("<user-count>1000</user-count>"));
                read(&mut known, &document.text);
                (told, turn) = (Some(document.told), document.turn);
                pieces += 1;
            }
            assert_eq!(known, as_read(&crowd));
            assert!(pieces <= most, "{pieces}");
        }
    }

    /// Somebody in the first seat, and the figures, change before each document, and now and then it begins anew: everybody else
    /// is told of all the same, and within as many documents as there are people and figures.
    #[test]
    fn who_changes_all_the_time_keeps_nobody_from_being_told_of() {
        for (anew, most) in [(u32::MAX, 80), (10, 100)] {
            let mut crowd = of((1..=40).map(|seat| (seat, inside(Some("+39061111****")))));
            let (mut told, mut turn, mut waiting) = (None, Turn::default(), (2..=40).collect::<Vec<u32>>());
            for version in 1..=most {
                let first = crowd.people.get_mut(&1).unwrap();
                first.speaks = !first.speaks;
                crowd.locked = !crowd.locked;
                let document = crowd.document(told.as_ref(), turn, (ENTITY, version), 700).unwrap();
                assert!(document.text.len() <= 900, "{}", document.text);
                waiting.retain(|seat| !document.text.contains(&format!("sip:seat{seat}@")));
                (told, turn) = (Some(document.told).filter(|_| version % anew > 0), document.turn);
            }
            assert!(waiting.is_empty(), "{anew}: {waiting:?}");
        }
    }

    proptest! {
        /// However people come, change and go, and however little room there is, whoever reads all documents knows what is so.
        #[test]
        fn documents_add_up(steps in prop::collection::vec((1u32..12, 0u8..4, any::<bool>()), 0..60), room in 300usize..4_000) {
            let mut conference = of([]);
            let (mut told, mut turn, mut known, mut version) = (None, Turn::default(), BTreeMap::new(), 0);
            let mut say = |conference: &Conference, told: &mut Option<Told>, known: &mut BTreeMap<String, String>| {
                version += 1;
                let document = conference.document(told.as_ref(), turn, (ENTITY, version), room)?;
                read(known, &document.text);
                turn = document.turn;
                *told = Some(document.told);
                Some(())
            };
            for (seat, what, telling) in steps {
                match what {
                    0 => drop(conference.people.remove(&seat)),
                    1 => drop(conference.people.insert(seat, inside(None))),
                    2 => drop(conference.people.insert(seat, Person { speaks: false, ..inside(None) })),
                    _ => conference.locked = !conference.locked,
                }
                if telling {
                    say(&conference, &mut told, &mut known);
                }
            }
            for _ in 0..200 {
                if say(&conference, &mut told, &mut known).is_none() {
                    break;
                }
            }
            prop_assert_eq!(known, as_read(&conference));
            let told = told.unwrap();
            prop_assert_eq!((told.figures, told.people), (conference.figures(), conference.people));
        }
    }
}
