//! Verbs of a meeting, with three doors: keys, API, console. Here the keys: codes like `*6`, collected digit by digit.

use crate::clock::Mono;
use std::time::Duration;

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// What can be asked of a meeting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb { $($(#[$doc])* $name,)* }

        impl Verb {
            pub const ALL: &'static [Verb] = &[$(Verb::$name,)*];
        }
    };
}

verbs! {
    Help
    Record
    /// Who is here, to the asker alone.
    RollCall
    MuteAll
    RaiseHand
    MuteSelf
    /// Somebody else.
    Mute
    Lock
    /// Lets the lobby in.
    Admit
    Announcements
    Operator
    DialOut
    Remove
    EndAll
}

/// A map of codes. A code begins with `*` or `#`.
pub type KeyMap = &'static [(&'static str, Verb)];

/// The map that bridges ship with (Teams' set and the older Lync one, which do not collide).
pub const DEFAULT_KEYS: KeyMap = &[
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
    ("*9", Verb::Announcements),
    ("*0", Verb::Operator),
    ("##", Verb::EndAll),
];

/// A code that begins another acts after so long; an unfinished one is forgotten after [`FORGET`].
const PAUSE: Duration = Duration::from_millis(1_500);
const FORGET: Duration = Duration::from_secs(4);

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    Verb(Verb),
    /// A code that means nothing.
    Nothing,
}

/// Collects one caller's keys into codes.
#[derive(Clone, Debug)]
pub struct Keypad {
    map: KeyMap,
    code: String,
    last: Mono,
}

impl Keypad {
    pub fn new(map: KeyMap) -> Keypad {
        Keypad { map, code: String::new(), last: Mono::default() }
    }

    fn exact(&self) -> Option<Verb> {
        self.map.iter().find(|(code, _)| *code == self.code).map(|(_, verb)| *verb)
    }

    fn begins_another(&self, code: &str) -> bool {
        self.map.iter().any(|(other, _)| other.len() > code.len() && other.starts_with(code))
    }

    /// A key; at most two codes come of it (one that was waiting for its end, and one that ends with it).
    pub fn press(&mut self, now: Mono, key: char) -> Vec<Pressed> {
        let mut pressed: Vec<Pressed> = self.wake(now).into_iter().collect();
        self.last = now;
        let longer = format!("{}{key}", self.code);
        let leads_on = self.begins_another(&longer) || self.map.iter().any(|(code, _)| *code == longer);
        if !self.code.is_empty() && !leads_on {
            // The code before was whole and this key begins anew, or it was never going to be one.
            let before = self.exact().map_or(Pressed::Nothing, Pressed::Verb);
            let was_whole = self.exact().is_some();
            self.code.clear();
            pressed.push(before);
            // Star begins anew after a slip of the finger, too.
            if was_whole || key == '*' {
                pressed.extend(self.press(now, key));
            }
            return pressed;
        }
        // A digit that begins no code is talk between the fingers, not a mistake.
        if !leads_on {
            return pressed;
        }
        self.code = longer;
        if !self.begins_another(&self.code) {
            pressed.extend(self.exact().map(Pressed::Verb));
            self.code.clear();
        }
        pressed
    }

    pub fn deadline(&self) -> Option<Mono> {
        let wait = if self.exact().is_some() { PAUSE } else { FORGET };
        (!self.code.is_empty()).then(|| self.last + wait)
    }

    /// The pause after a code may have made it whole.
    pub fn wake(&mut self, now: Mono) -> Option<Pressed> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        let verb = self.exact().map(Pressed::Verb);
        self.code.clear();
        verb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(steps: &[(u64, char)], until: u64) -> Vec<Pressed> {
        let mut keypad = Keypad::new(DEFAULT_KEYS);
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
            (&[(0, '#'), (5_000, '#')], &[]),
        ];
        for (steps, expected) in table {
            assert_eq!(keys(steps, 60_000), *expected, "{steps:?}");
        }
    }
}
