//! Verbs of a meeting, with three doors: keys, API, console. Here the keys: codes like `*6`, collected digit by digit, and
//! the number that `*81` asks for.

use crate::clock::Mono;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// What can be asked of a meeting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Verb { $($(#[$doc])* $name,)* }

        impl Verb {
            pub const ALL: &'static [Verb] = &[$(Verb::$name,)*];

            /// The word in settings.
            pub const fn word(self) -> &'static str {
                match self { $(Verb::$name => $word,)* }
            }
        }
    };
}

verbs! {
    Help "help"
    Record "record"
    /// Who is here, to the asker alone.
    RollCall "roll-call"
    MuteAll "mute-all"
    RaiseHand "raise-hand"
    MuteSelf "mute-self"
    /// Somebody else.
    Mute "mute"
    /// Somebody hears the room no more.
    Deafen "deafen"
    /// Somebody is out of the room for a while, with music.
    Hold "hold"
    Promote "promote"
    Lock "lock"
    /// Lets the lobby in.
    Admit "admit"
    Announcements "announcements"
    Operator "operator"
    DialOut "dial-out"
    /// Gives up the calls of one's own that still ring.
    CancelCall "cancel-call"
    Remove "remove"
    EndAll "end"
}

impl Verb {
    /// Whether keys can say it: what is done to somebody else needs a name, and keys have none.
    pub const fn has_keys(self) -> bool {
        !matches!(self, Verb::Mute | Verb::Deafen | Verb::Hold | Verb::Promote | Verb::Remove)
    }
}

impl FromStr for Verb {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Verb, &'static str> {
        let found = Verb::ALL.iter().copied().find(|verb| verb.has_keys() && verb.word() == text);
        found.ok_or("expected help, record, roll-call, mute-all, raise-hand, mute-self, lock, admit, announcements, operator, dial-out, cancel-call or end")
    }
}

/// A map of codes, shared by all callers of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMap(Arc<[(String, Verb)]>);

/// The map that bridges ship with (Teams' set and the older Lync one, which do not collide).
const DEFAULT_KEYS: &[(&str, Verb)] = &[
    ("*1", Verb::Help),
    ("*2", Verb::Record),
    ("*21", Verb::Admit),
    ("*22", Verb::MuteAll),
    ("*23", Verb::Announcements),
    ("*3", Verb::RollCall),
    ("*4", Verb::MuteAll),
    ("*5", Verb::RaiseHand),
    ("*6", Verb::MuteSelf),
    ("*7", Verb::Lock),
    ("*8", Verb::Admit),
    ("*80", Verb::CancelCall),
    ("*81", Verb::DialOut),
    ("*9", Verb::Announcements),
    ("*0", Verb::Operator),
    ("##", Verb::EndAll),
];

/// A longer code is no code that people remember.
const LONGEST_CODE: usize = 6;

impl Default for KeyMap {
    fn default() -> KeyMap {
        KeyMap(DEFAULT_KEYS.iter().map(|(code, verb)| ((*code).to_owned(), *verb)).collect())
    }
}

impl KeyMap {
    /// A map of one's own: `0` mutes, `#` ends, as it may be. Codes may begin with any key.
    pub fn new(codes: Vec<(String, Verb)>) -> Result<KeyMap, String> {
        for (at, (code, _)) in codes.iter().enumerate() {
            let sound = (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|b| b"0123456789*#".contains(&b));
            if !sound {
                return Err(format!("\"{code}\": expected 1 to {LONGEST_CODE} of 0-9, * and #"));
            }
            if codes[..at].iter().any(|(other, _)| other == code) {
                return Err(format!("\"{code}\" stands here twice"));
            }
        }
        Ok(KeyMap(codes.into()))
    }

    /// How to ask for this by keys: the shortest code, the last of several (`*4` after `*22`).
    pub fn code_of(&self, verb: Verb) -> Option<&str> {
        let codes = self.0.iter().filter(|(_, known)| *known == verb).map(|(code, _)| code.as_str());
        codes.reduce(|best, next| if next.len() <= best.len() { next } else { best })
    }

    fn exact(&self, code: &str) -> Option<Verb> {
        self.0.iter().find(|(known, _)| known == code).map(|(_, verb)| *verb)
    }

    fn begins_another(&self, code: &str) -> bool {
        self.0.iter().any(|(other, _)| other.len() > code.len() && other.starts_with(code))
    }
}

/// A code that begins another acts after so long; an unfinished one is forgotten after [`FORGET`].
const PAUSE: Duration = Duration::from_millis(1_500);
const FORGET: Duration = Duration::from_secs(4);
/// Whoever was asked for a number looks it up first; then each digit may take as long again.
const NUMBER_WAIT: Duration = Duration::from_secs(15);
/// `00` and the 15 digits of the longest number, and some more by which a longer one is known as none.
const LONGEST_NUMBER: usize = 20;

/// What a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pressed {
    Verb(Verb),
    /// The digits that were asked for, as they were typed.
    Number(String),
    /// The number that was asked for will not come.
    NoNumber,
    /// A code that means nothing.
    Nothing,
}

/// Collects one caller's keys into codes.
#[derive(Clone, Debug)]
pub struct Keypad {
    map: KeyMap,
    code: String,
    /// Digits of a number, while one is asked for.
    number: Option<String>,
    last: Mono,
}

impl Keypad {
    pub fn new(map: KeyMap) -> Keypad {
        Keypad { map, code: String::new(), number: None, last: Mono::default() }
    }

    pub fn map(&self) -> &KeyMap {
        &self.map
    }

    /// What is pressed from now on is a number, up to `#`; `*` takes that back.
    pub fn ask_number(&mut self, now: Mono) {
        self.code.clear();
        self.number = Some(String::new());
        self.last = now;
    }

    pub fn is_asked_for_a_number(&self) -> bool {
        self.number.is_some()
    }

    /// A key; at most two codes come of it (one that was waiting for its end, and one that ends with it).
    pub fn press(&mut self, now: Mono, key: char) -> Vec<Pressed> {
        let mut pressed: Vec<Pressed> = self.wake(now).into_iter().collect();
        self.last = now;
        if self.number.is_some() {
            pressed.extend(self.digit(key));
            return pressed;
        }
        let longer = format!("{}{key}", self.code);
        let leads_on = self.map.begins_another(&longer) || self.map.exact(&longer).is_some();
        if !self.code.is_empty() && !leads_on {
            // The code before was whole and this key begins anew, or it was never going to be one.
            let before = self.map.exact(&self.code);
            self.code.clear();
            pressed.push(before.map_or(Pressed::Nothing, Pressed::Verb));
            // Star begins anew after a slip of the finger, too.
            if before.is_some() || key == '*' {
                pressed.extend(self.press(now, key));
            }
            return pressed;
        }
        // A digit that begins no code is talk between the fingers, not a mistake.
        if !leads_on {
            return pressed;
        }
        self.code = longer;
        if !self.map.begins_another(&self.code) {
            pressed.extend(self.map.exact(&self.code).map(Pressed::Verb));
            self.code.clear();
        }
        pressed
    }

    fn digit(&mut self, key: char) -> Option<Pressed> {
        let digits = self.number.as_mut()?;
        match key {
            '0'..='9' => {
                // One that is too long is kept as such, so that it is refused and not cut to a number that nobody typed.
                if digits.len() < LONGEST_NUMBER {
                    digits.push(key);
                }
                None
            }
            '#' => self
                .number
                .take()
                .filter(|digits| !digits.is_empty())
                .map_or(Some(Pressed::NoNumber), |digits| Some(Pressed::Number(digits))),
            '*' => {
                self.number = None;
                Some(Pressed::NoNumber)
            }
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        if self.number.is_some() {
            return Some(self.last + NUMBER_WAIT);
        }
        let wait = if self.map.exact(&self.code).is_some() { PAUSE } else { FORGET };
        (!self.code.is_empty()).then(|| self.last + wait)
    }

    /// The pause after a code may have made it whole; one after a digit ends the wait for a number.
    pub fn wake(&mut self, now: Mono) -> Option<Pressed> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        if self.number.take().is_some() {
            return Some(Pressed::NoNumber);
        }
        let verb = self.map.exact(&self.code).map(Pressed::Verb);
        self.code.clear();
        verb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(steps: &[(u64, char)], until: u64) -> Vec<Pressed> {
        let mut keypad = Keypad::new(KeyMap::default());
        let mut pressed = Vec::new();
        for (at, key) in steps {
            pressed.extend(keypad.press(Mono::from_millis(*at), *key));
        }
        pressed.extend(keypad.wake(Mono::from_millis(until)));
        assert_eq!(keypad.deadline(), None, "something waits on");
        pressed
    }

    #[test]
    fn codes_act_when_they_are_whole() {
        use Pressed::{Nothing, Verb as V};
        type Story = (&'static [(u64, char)], &'static [Pressed]);
        let table: &[Story] = &[
            (&[(0, '*'), (100, '6')], &[V(Verb::MuteSelf)]),
            (&[(0, '#'), (900, '#')], &[V(Verb::EndAll)]),
            // `*2` begins `*21`: the longer at once, the shorter after a pause, or as another code begins.
            (&[(0, '*'), (100, '2'), (200, '1')], &[V(Verb::Admit)]),
            (&[(0, '*'), (100, '2')], &[V(Verb::Record)]),
            (&[(0, '*'), (100, '2'), (300, '*'), (400, '6')], &[V(Verb::Record), V(Verb::MuteSelf)]),
            (&[(0, '*'), (100, '2'), (2_000, '1')], &[V(Verb::Record)]),
            (&[(0, '*'), (100, '2'), (300, '9')], &[V(Verb::Record)]),
            (&[(0, '*'), (100, '#')], &[Nothing]),
            (&[(0, '*'), (100, '*'), (200, '6')], &[Nothing, V(Verb::MuteSelf)]),
            (&[(0, '5'), (100, '7')], &[]),
            // `*8` begins `*81`: who wants to ring somebody does not let the lobby in.
            (&[(0, '*'), (100, '8')], &[V(Verb::Admit)]),
            (&[(0, '*'), (100, '8'), (1_500, '1')], &[V(Verb::DialOut)]),
            (&[(0, '#'), (5_000, '#')], &[]),
        ];
        for (steps, expected) in table {
            assert_eq!(keys(steps, 60_000), *expected, "{steps:?}");
        }
    }
    fn typed(keypad: &mut Keypad, keys: &str) -> Vec<Pressed> {
        keys.chars().flat_map(|key| keypad.press(Mono::from_millis(10_000), key)).collect()
    }

    #[test]
    fn a_number_that_was_asked_for_ends_with_pound_and_is_given_up_by_star_or_silence() {
        let at = Mono::from_millis;
        let mut keypad = Keypad::new(KeyMap::default());
        let asked = |keypad: &mut Keypad| {
            keypad.ask_number(at(10_000));
        };
        for (keys, expected) in [
            ("00390612345678#", Pressed::Number("00390612345678".into())),
            // Too long for a number, and still too long where it is read.
            ("123456789012345678901234#", Pressed::Number("12345678901234567890".into())),
            ("#", Pressed::NoNumber),
            ("0039*", Pressed::NoNumber),
        ] {
            asked(&mut keypad);
            assert_eq!(typed(&mut keypad, keys), [expected], "{keys}");
            assert_eq!(keypad.deadline(), None);
        }
        asked(&mut keypad);
        assert_eq!(typed(&mut keypad, "0039"), []);
        assert_eq!(keypad.wake(at(24_999)), None);
        assert_eq!(keypad.wake(at(25_000)), Some(Pressed::NoNumber));
        assert_eq!(typed(&mut keypad, "*6"), [Pressed::Verb(Verb::MuteSelf)], "codes are codes again");
    }

    #[test]
    fn a_map_of_ones_own_takes_the_place_of_the_usual_one() {
        let codes = [("0", Verb::MuteSelf), ("00", Verb::MuteAll), ("#", Verb::EndAll)];
        let map = KeyMap::new(codes.map(|(code, verb)| (code.to_owned(), verb)).to_vec()).unwrap();
        let mut keypad = Keypad::new(map.clone());
        assert_eq!(typed(&mut keypad, "*6"), []);
        assert_eq!(typed(&mut keypad, "00#"), [Pressed::Verb(Verb::MuteAll), Pressed::Verb(Verb::EndAll)]);
        assert_eq!((map.code_of(Verb::MuteSelf), map.code_of(Verb::Help)), (Some("0"), None));
        assert_eq!(KeyMap::default().code_of(Verb::MuteAll), Some("*4"));
        for bad in [&["*6", "*6"][..], &[""], &["*A"], &["1234567"]] {
            let codes = bad.iter().map(|code| ((*code).to_owned(), Verb::Help)).collect();
            assert!(KeyMap::new(codes).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn verbs_of_keys_read_back() {
        for verb in Verb::ALL {
            assert_eq!(verb.word().parse::<Verb>().is_ok(), verb.has_keys(), "{verb:?}");
        }
        assert!(DEFAULT_KEYS.iter().all(|(_, verb)| verb.has_keys()));
    }
}
