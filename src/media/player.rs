//! Prompts and music: clips one after the other, to one caller or to a room.

use super::clip::Clip;
use super::codec::resample::Resampler;
use super::mixer::sum;
use super::{Frame, Rate, TICK_MOST};
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

    /// At what rate it goes on; nothing is left where there is none.
    fn rate(&self) -> Option<Rate> {
        self.clips.get(self.clip).or(self.clips.first().filter(|_| self.repeat)).map(|clip| clip.rate())
    }

    /// Fills `sound`, at `rate`, as far as it goes; how many samples that is.
    fn render(&mut self, rate: Rate, sound: &mut [i16]) -> usize {
        let mut filled = 0;
        while filled < sound.len() {
            let Some(clip) = self.clips.get(self.clip) else {
                if !self.repeat {
                    break;
                }
                self.clip = 0;
                continue;
            };
            if clip.rate() != rate {
                break;
            }
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

    fn is_over(&self) -> bool {
        !self.repeat && self.clip >= self.clips.len()
    }
}

/// What plays in one place, and what waits behind it, at the rate of those who hear it.
#[derive(Debug, Default)]
pub struct Player {
    queue: VecDeque<Play>,
    rate: Rate,
    /// By the rate of a clip: what brings it to ours. Made by commands, so that no tick takes memory.
    resamplers: [Option<Box<Resampler>>; Rate::ALL.len()],
    last: i16,
    seam: bool,
    /// What somebody says to this place alone: the sound of the next tick, and silence where none came.
    live: Option<Box<Frame>>,
}

impl Player {
    pub fn new(rate: Rate) -> Player {
        Player { rate, ..Player::default() }
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= PLAYS_MOST
    }

    /// Whether the next tick has a sound of it.
    pub fn plays(&self) -> bool {
        !self.queue.is_empty() || self.seam || self.live.is_some()
    }

    /// Somebody may speak to this place alone, or nobody any more.
    pub fn lend_ear(&mut self, on: bool) {
        self.live = on.then(|| self.live.take().unwrap_or_else(|| Box::new([0; TICK_MOST])));
    }

    /// What is said to it in this tick, at its rate.
    pub fn hear(&mut self, voice: &[i16]) {
        let live = self.live.iter_mut().flat_map(|live| live.iter_mut());
        live.zip(voice).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
    }

    /// Those who hear it changed their rate.
    pub fn tune(&mut self, rate: Rate) {
        if rate != self.rate {
            self.rate = rate;
            self.seam |= !self.queue.is_empty();
            self.resamplers = Default::default();
            let rates = self.queue.iter().flat_map(|play| &play.clips).map(|clip| clip.rate());
            for from in rates.collect::<Vec<Rate>>() {
                self.prepare(from);
            }
        }
    }

    fn prepare(&mut self, from: Rate) {
        if from != self.rate {
            let (rate, last) = (self.rate, self.last);
            self.resamplers[from as usize].get_or_insert_with(|| {
                let mut resampler = Box::new(Resampler::new(from, rate));
                resampler.hold(last);
                resampler
            });
        }
    }

    /// Puts a play behind the others. Music that it ends is given back.
    pub fn add(&mut self, play: Play) -> Option<Play> {
        let music = self.queue.pop_back_if(|last| last.repeat);
        self.seam |= music.is_some();
        play.clips.iter().for_each(|clip| self.prepare(clip.rate()));
        self.queue.push_back(play);
        music
    }

    /// The sound of one tick into `frame`, if anything plays. Plays that ended with it go to `ended`.
    pub fn render(&mut self, frame: &mut Frame, ended: impl FnMut(Play)) -> bool {
        if !self.plays() {
            return false;
        }
        let sound = &mut frame[..self.rate.tick()];
        let from = self.queue.front().and_then(Play::rate).unwrap_or(self.rate);
        let through = self.resamplers[from as usize].take().filter(|_| from != self.rate);
        match through {
            Some(mut resampler) => {
                let mut line = [0; TICK_MOST];
                let line = &mut line[..from.tick()];
                self.gather(from, line, ended);
                resampler.run(line, sound);
                self.resamplers[from as usize] = Some(resampler);
            }
            None => self.gather(from, sound, ended),
        }
        if std::mem::take(&mut self.seam) {
            sum::seam(sound, self.last);
        }
        self.last = sound[sound.len() - 1];
        if let Some(live) = &mut self.live {
            sound.iter_mut().zip(live.iter()).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
            live.fill(0);
        }
        true
    }

    /// A tick's worth at one rate; where the rate of what follows is another, the rest of the tick is silent.
    fn gather(&mut self, rate: Rate, sound: &mut [i16], mut ended: impl FnMut(Play)) {
        let mut filled = 0;
        while let Some(play) = self.queue.front_mut() {
            filled += play.render(rate, &mut sound[filled..]);
            if filled == sound.len() || !play.is_over() {
                break;
            }
            self.queue.pop_front().into_iter().for_each(&mut ended);
        }
        sound[filled..].fill(0);
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

    const TICK: usize = Rate::Narrow.tick();

    fn play(samples: &[i16], repeat: bool, mark: u64) -> Play {
        Play::new(vec![Arc::new(Clip::new(Rate::Narrow, samples.to_vec()))], repeat, mark, mark >= 100)
    }

    fn marks(player: &mut Player) -> (Option<Vec<i16>>, Vec<u64>) {
        let (mut marks, mut frame) = (Vec::new(), [99; TICK_MOST]);
        let plays = player.render(&mut frame, |play| marks.push(play.mark));
        (plays.then(|| frame[..player.rate.tick()].to_vec()), marks)
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
        assert_eq!((frame.as_ref().unwrap()[39], frame.unwrap()[40], ended), (2, 0, vec![2]));
        assert_eq!(marks(&mut player), (None, vec![]));
    }

    #[test]
    fn music_goes_on_until_something_follows() {
        let mut player = Player::default();
        player.add(play(&[7; 30], true, 1));
        assert_eq!(marks(&mut player), (Some(vec![7; TICK]), vec![]));
        assert_eq!(player.add(play(&[9; 400], false, 2)).unwrap().mark, 1);
        assert_eq!(marks(&mut player).0.unwrap()[TICK - 1], 9);
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
            marks(&mut player);
        }
        player.barge(|play| stopped.push(play.mark));
        assert_eq!(stopped, [100]);
    }

    /// A steady sound at every pair of rates: whole at both ends, and no step where the rate of the listeners changes.
    #[test]
    fn clips_of_any_rate_are_heard_at_any_rate() {
        for from in Rate::ALL {
            for to in Rate::ALL {
                let mut player = Player::new(to);
                let clip = Arc::new(Clip::new(from, vec![8_000; from.tick() * 20]));
                player.add(Play::new(vec![clip], false, 1, false));
                let mut heard = Vec::new();
                for tick in 0..19 {
                    if tick == 10 {
                        player.tune(Rate::Full);
                    }
                    let frame = marks(&mut player).0.unwrap();
                    if tick >= 2 {
                        heard.extend(frame);
                    }
                }
                let step = heard.windows(2).map(|w| (w[1] - w[0]).abs()).max().unwrap();
                assert!(step < 400, "{from:?} {to:?}: {step}");
                assert!(heard[..to.tick()].iter().all(|s| (7_900..8_100).contains(s)), "{from:?} {to:?}");
                assert_eq!(marks(&mut player).1, [0; 0]);
                assert_eq!(marks(&mut player).1, [1], "{from:?} {to:?}");
            }
        }
    }
}
