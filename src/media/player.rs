//! Prompts and music: clips one after the other, to one caller or to a room.

use super::clip::Clip;
use super::mixer::sum;
use super::{FRAME, Frame};
use std::collections::VecDeque;
use std::sync::Arc;

/// Prompts that wait in one place: a roll call's worth; an owner that sends more has lost count.
pub const PLAYS_MOST: usize = 64;

/// One `Play` command on its way.
#[derive(Debug)]
pub struct Play {
    pub clips: Vec<Arc<Clip>>,
    pub repeat: bool,
    pub mark: u64,
    pub barge: bool,
    clip: usize,
    sample: usize,
}

impl Play {
    pub fn new(clips: Vec<Arc<Clip>>, repeat: bool, mark: u64, barge: bool) -> Play {
        // Music without a sample would be looked through for ever.
        let repeat = repeat && clips.iter().any(|clip| !clip.samples().is_empty());
        Play { clips, repeat, mark, barge, clip: 0, sample: 0 }
    }

    /// Fills `sound` as far as it goes; how many samples that is.
    fn render(&mut self, sound: &mut [i16]) -> usize {
        let mut filled = 0;
        while filled < sound.len() {
            let Some(clip) = self.clips.get(self.clip) else {
                if !self.repeat {
                    break;
                }
                self.clip = 0;
                continue;
            };
            let rest = &clip.samples()[self.sample..];
            let count = rest.len().min(sound.len() - filled);
            sound[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.sample += count;
            if count == rest.len() {
                (self.clip, self.sample) = (self.clip + 1, 0);
            }
        }
        filled
    }
}

/// What plays in one place, and what waits behind it.
#[derive(Debug, Default)]
pub struct Player {
    queue: VecDeque<Play>,
    last: i16,
    seam: bool,
}

impl Player {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= PLAYS_MOST
    }

    /// Puts a play behind the others. Music that it ends is given back.
    pub fn add(&mut self, play: Play) -> Option<Play> {
        let music = self.queue.pop_back_if(|last| last.repeat);
        self.seam |= music.is_some();
        self.queue.push_back(play);
        music
    }

    /// The sound of one tick, if anything plays. Plays that ended with it go to `ended`.
    pub fn render(&mut self, mut ended: impl FnMut(Play)) -> Option<Frame> {
        if self.queue.is_empty() && !self.seam {
            return None;
        }
        let mut frame = [0; FRAME];
        let mut filled = 0;
        while filled < FRAME
            && let Some(play) = self.queue.front_mut()
        {
            filled += play.render(&mut frame[filled..]);
            if filled < FRAME {
                self.queue.pop_front().into_iter().for_each(&mut ended);
            }
        }
        if std::mem::take(&mut self.seam) {
            sum::seam(&mut frame, self.last);
        }
        self.last = frame[FRAME - 1];
        Some(frame)
    }

    /// A digit came: if what plays may be stopped, it and all that waits behind it goes. A prompt that must be heard to
    /// its end protects what follows it.
    pub fn barge(&mut self, stopped: impl FnMut(Play)) {
        if self.queue.front().is_some_and(|play| play.barge) {
            self.stop(stopped);
        }
    }

    pub fn stop(&mut self, mut stopped: impl FnMut(Play)) {
        while let Some(play) = self.queue.pop_front() {
            self.seam = true;
            stopped(play);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(samples: &[i16], repeat: bool, mark: u64) -> Play {
        Play::new(vec![Arc::new(Clip::new(samples.to_vec()))], repeat, mark, mark >= 100)
    }

    fn marks(player: &mut Player) -> (Option<Frame>, Vec<u64>) {
        let mut marks = Vec::new();
        let frame = player.render(|play| marks.push(play.mark));
        (frame, marks)
    }

    #[test]
    fn plays_follow_each_other_without_a_gap() {
        let mut player = Player::default();
        assert!(player.add(play(&[1; 100], false, 1)).is_none());
        assert!(player.add(play(&[2; 100], false, 2)).is_none());
        let (frame, ended) = marks(&mut player);
        let frame = frame.unwrap();
        assert_eq!((frame[99], frame[100], ended), (1, 2, vec![1]));
        let (frame, ended) = marks(&mut player);
        assert_eq!((frame.unwrap()[39], frame.unwrap()[40], ended), (2, 0, vec![2]));
        assert_eq!(marks(&mut player), (None, vec![]));
    }

    #[test]
    fn music_goes_on_until_something_follows() {
        let mut player = Player::default();
        player.add(play(&[7; 30], true, 1));
        assert_eq!(marks(&mut player), (Some([7; FRAME]), vec![]));
        assert_eq!(player.add(play(&[9; 400], false, 2)).unwrap().mark, 1);
        assert_eq!(marks(&mut player).0.unwrap()[FRAME - 1], 9);
        // Music of no length ends at once.
        player.stop(drop);
        player.add(play(&[], true, 3));
        assert_eq!(marks(&mut player).1, [3]);
    }

    #[test]
    fn a_digit_stops_what_may_be_stopped() {
        let mut player = Player::default();
        let mut stopped = Vec::new();
        player.add(play(&[1; 400], false, 1));
        player.add(play(&[2; 400], false, 100));
        player.barge(|play| stopped.push(play.mark));
        assert!(stopped.is_empty());
        for _ in 0..3 {
            player.render(drop);
        }
        player.barge(|play| stopped.push(play.mark));
        assert_eq!(stopped, [100]);
    }
}
