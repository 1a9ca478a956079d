//! Keys as named events (RFC 4733): a press counts once, whichever of its packets arrive.

/// Octets of an event payload.
const EVENT: usize = 4;
/// The keys by event code (RFC 4733 section 3.2); what lies beyond (flash, tones) is no key.
const KEYS: [u8; 16] = *b"0123456789*#ABCD";
/// An event so much older than the newest is a new start of the sender's clock, not a straggler: 5 s at 8000 Hz.
const STRAGGLER_MOST: i32 = 40_000;
/// The longest duration that the field holds: a longer press goes on in a new segment (RFC 4733 section 2.5.1.3).
const DURATION_MOST: u32 = 0xffff;
/// No finger is faster: a stream may report so many keys at once...
const PRESSES_MOST: u8 = 16;
/// ...and one more for each so many ticks (25 a second). A flood of events cannot crowd out other callers' events.
const TICKS_A_PRESS: u8 = 2;

/// One packet of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub code: u8,
    pub end: bool,
    /// How long the key was down so far, in units of the timestamp.
    pub duration: u16,
}

impl Part {
    /// RFC 4733 section 2.3. Packets may be longer (RFC 2198 and sloppy senders); what follows is not read.
    pub fn parse(payload: &[u8]) -> Option<Part> {
        let head = payload.first_chunk::<EVENT>()?;
        Some(Part { code: head[0], end: head[1] & 0x80 != 0, duration: u16::from_be_bytes([head[2], head[3]]) })
    }
}

#[derive(Clone, Copy, Debug)]
struct Press {
    code: u8,
    timestamp: u32,
    duration: u16,
    ended: bool,
}

/// The keys of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Keypad {
    last: Option<Press>,
    allowance: u8,
    ticks: u8,
}

impl Default for Keypad {
    fn default() -> Keypad {
        Keypad { last: None, allowance: PRESSES_MOST, ticks: 0 }
    }
}

impl Keypad {
    /// Takes one packet; the key, if a new press begins with it.
    pub fn take(&mut self, timestamp: u32, part: Part) -> Option<char> {
        let key = KEYS.get(usize::from(part.code))?;
        let press = Press { code: part.code, timestamp, duration: part.duration, ended: part.end };
        if let Some(last) = &mut self.last {
            let age = last.timestamp.wrapping_sub(timestamp) as i32;
            if age == 0 {
                last.duration = last.duration.max(part.duration);
                last.ended |= part.end;
                return None;
            }
            if (1..STRAGGLER_MOST).contains(&age) {
                return None;
            }
            if last.goes_on(&press) {
                self.last = Some(press);
                return None;
            }
        }
        self.last = Some(press);
        self.allowance = self.allowance.checked_sub(1)?;
        Some(char::from(*key))
    }

    /// One beat of 20 ms went by.
    pub fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks >= TICKS_A_PRESS {
            self.ticks = 0;
            self.allowance = (self.allowance + 1).min(PRESSES_MOST);
        }
    }

    /// Another source follows: its timestamps are not comparable.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

impl Press {
    /// The next segment of a very long press begins where the full field ended (RFC 4733 section 2.5.1.3).
    fn goes_on(&self, next: &Press) -> bool {
        let gap = next.timestamp.wrapping_sub(self.timestamp);
        self.code == next.code && !self.ended && gap == DURATION_MOST && u32::from(self.duration) > DURATION_MOST / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(code: u8, end: bool, duration: u16) -> Part {
        Part { code, end, duration }
    }

    #[test]
    fn a_payload_is_read_or_not() {
        let table: &[(&[u8], Option<Part>)] = &[
            (&[5, 0x8a, 0x03, 0x20], Some(part(5, true, 800))),
            (&[11, 0x0a, 0x00, 0xa0, 9, 9], Some(part(11, false, 160))),
            (&[5, 0x8a, 0x03], None),
            (&[], None),
        ];
        for (payload, expected) in table {
            assert_eq!(Part::parse(payload), *expected);
        }
    }

    #[test]
    fn all_sixteen_keys_and_no_others() {
        let mut keypad = Keypad::default();
        let mut heard = String::new();
        for code in 0..=255 {
            heard.extend(keypad.take(u32::from(code) * 1_000, part(code, false, 160)));
        }
        assert_eq!(heard, "0123456789*#ABCD");
    }

    #[test]
    fn stragglers_and_repeats_are_no_press() {
        let mut keypad = Keypad::default();
        let start = u32::MAX - 100;
        assert_eq!(keypad.take(start, part(1, false, 160)), Some('1'));
        assert_eq!(keypad.take(start.wrapping_add(1_600), part(1, true, 800)), Some('1'));
        assert_eq!(keypad.take(start, part(1, true, 800)), None);
        assert_eq!(keypad.take(start.wrapping_add(1_600), part(1, true, 800)), None);
        assert_eq!(keypad.take(start.wrapping_add(3_200), part(1, true, 800)), Some('1'));
        // The sender's clock began anew, far in the past.
        assert_eq!(keypad.take(start.wrapping_sub(4_000_000), part(2, false, 160)), Some('2'));
    }

    #[test]
    fn a_press_longer_than_the_field_is_one_press() {
        let mut keypad = Keypad::default();
        let mut presses = 0;
        for segment in 0..3u32 {
            for duration in (160..=0xffffu32).step_by(160).chain([0xffff]) {
                let part = part(10, false, duration as u16);
                presses += keypad.take(segment * 0xffff, part).iter().count();
            }
        }
        assert_eq!(presses, 1);
    }

    #[test]
    fn a_flood_is_cut_and_the_next_finger_heard() {
        let mut keypad = Keypad::default();
        let flood = (0..10_000u32).filter_map(|i| keypad.take(i.wrapping_mul(7_919_000), part(3, false, 0))).count();
        assert_eq!(flood, usize::from(PRESSES_MOST));
        (0..TICKS_A_PRESS).for_each(|_| keypad.tick());
        let after = 9_999u32.wrapping_mul(7_919_000).wrapping_add(800);
        assert_eq!(keypad.take(after, part(4, true, 400)), Some('4'));
    }

    proptest! {
        /// 1,000 digits, each as five growing packets and three ends, every packet lost with 5 %: none missed, none doubled.
        #[test]
        fn a_thousand_digits_survive_loss(seed: u64, loss in 0u64..=5) {
            let mut keypad = Keypad::default();
            let mut random = seed | 1;
            let (mut sent, mut heard) = (String::new(), String::new());
            for press in 0..1_000u32 {
                let code = (press * 7 % 16) as u8;
                sent.push(char::from(KEYS[usize::from(code)]));
                let timestamp = (seed as u32).wrapping_add(press * 1_600);
                let growing = (1..=5).map(|i| part(code, false, i * 160));
                let ends = std::iter::repeat_n(part(code, true, 960), 3);
                for part in growing.chain(ends) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    keypad.tick();
                    if (random >> 33) % 100 >= loss {
                        heard.extend(keypad.take(timestamp, part));
                    }
                }
            }
            prop_assert_eq!(sent, heard);
        }
    }
}
