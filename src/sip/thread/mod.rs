//! How soon the endpoint's thread has its turn; `io` starts it.

pub(in crate::sip) mod io;

use crate::priority::Priority;

/// While calls are turned away because the machine is full they are to hear so at once all the same. What else is refused
/// (strangers, calls beyond a limit or while we drain) takes no other's turn for that.
#[derive(Default)]
pub(in crate::sip) struct Hurry {
    is_on: bool,
    /// So many had been turned away when the last sweep came.
    pressed: u64,
}

impl Hurry {
    /// `pressed`: so many are turned away so far. For the calling thread.
    pub fn look(&mut self, pressed: u64) {
        if !self.is_on && self.pressed != pressed {
            Priority::Refusing.take();
            self.is_on = true;
        }
    }

    /// As ever, where none was turned away since the last sweep.
    pub fn calm_down(&mut self, pressed: u64) {
        if self.is_on && self.pressed == pressed {
            Priority::Signalling.take();
            self.is_on = false;
        }
        self.pressed = pressed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_calls_are_turned_away() {
        let hurries = std::thread::spawn(|| {
            let mut hurry = Hurry::default();
            [(false, 0), (true, 0), (false, 1), (false, 1), (true, 1), (false, 2), (true, 2), (true, 2), (false, 2)]
                .map(|(sweeps, pressed)| {
                    if sweeps {
                        hurry.calm_down(pressed)
                    } else {
                        hurry.look(pressed)
                    }
                    hurry.is_on
                })
        });
        assert_eq!(hurries.join().unwrap(), [false, false, true, true, true, true, true, false, false]);
    }
}
