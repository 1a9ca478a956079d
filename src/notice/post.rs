//! The post: what is on its way, and when something is tried again. Time and chance are told.

use super::{Alert, Config, HookUrl, Mailbox, SecretRef};
use crate::clock::{Mono, Now, Wall};
use crate::types::{Currency, Micros, OrganisationId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Letters on their way at once, one a target: a target that hangs holds up itself alone.
pub const LETTERS: usize = 16;
/// Payments likewise, beside them: no webhook holds up money.
pub const PAYMENTS: usize = 16;

/// After so many tries a letter waits so long for the next, give or take a quarter.
const LETTER_WAITS_S: &[u64] = &[10, 60, 300, 1_800, 7_200];
/// A payment whose outcome is not known is asked about again, with the same key, until it is: calls burn meanwhile, so
/// the first waits are short.
const PAYMENT_WAITS_S: &[u64] = &[2, 5, 15, 30, 60, 120, 300, 600];

/// What is due may have been written without word to us (by another process): it is looked for so often at least.
const LOOK: Duration = Duration::from_secs(30);
/// The books did not answer: asked again after so long.
const BOOKS_DOWN: Duration = Duration::from_secs(5);

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Mail(Mailbox),
    Hook { url: HookUrl, secret: SecretRef },
}

/// An alert on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The delivery, in the books.
    pub id: String,
    pub alert: Alert,
    pub target: Target,
    /// How often it was tried before.
    pub tries: u32,
}

/// Money that a payment hook is to fetch. Whatever happens it is asked for under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub key: String,
    pub organisation: OrganisationId,
    pub amount: Micros,
    pub currency: Currency,
    pub hook: HookUrl,
    pub secret: SecretRef,
    pub tries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    Letter(Letter),
    Payment(Payment),
}

impl Errand {
    fn id(&self) -> &str {
        match self {
            Errand::Letter(letter) => &letter.id,
            Errand::Payment(payment) => &payment.key,
        }
    }
}

/// What the far end said, or did not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Taken; of a payment: paid.
    Yes,
    /// Of a payment: it will not be paid, and it is certain that it was not.
    No(String),
    /// Of a payment: not decided yet. Of anything: no answer, or none that can be made out.
    Unclear(String),
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// What the books had due, and when the next of the rest is.
    Fetched {
        errands: Vec<Errand>,
        next: Option<Wall>,
    },
    /// They did not answer.
    NotFetched,
    /// Something was written: there may be something due.
    Written,
    Said {
        id: String,
        said: Said,
    },
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Fetch at most so many that are due. They are ours then, until they are reported or so long has gone by that we must
    /// be dead.
    Fetch {
        letters: usize,
        payments: usize,
    },
    Go(Errand),
    Tell(Report),
}

/// What came of an errand, for the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Delivered {
        id: String,
    },
    /// Not delivered; tried again at `again`, or given up. A webhook that has failed `disable_after` times in a row is
    /// switched off.
    Undelivered {
        id: String,
        why: String,
        again: Option<Wall>,
        disable_after: u32,
    },
    Paid {
        key: String,
    },
    Declined {
        key: String,
        why: String,
    },
    /// Asked again at `again`, with the same key.
    Open {
        key: String,
        why: String,
        again: Wall,
    },
}

pub struct Post {
    config: Config,
    rng: StdRng,
    /// On their way, by id.
    away: HashMap<String, Errand>,
    letters: usize,
    fetching: bool,
    /// Something may be due that the running fetch does not see.
    stale: bool,
    next: Option<Mono>,
    outputs: VecDeque<Output>,
}

impl Post {
    pub fn new(config: Config, seed: [u8; 32]) -> Post {
        let rng = StdRng::from_seed(seed);
        let (away, outputs) = (HashMap::new(), VecDeque::new());
        Post { config, rng, away, letters: 0, fetching: false, stale: true, next: None, outputs }
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Written => self.stale = true,
            Input::NotFetched => {
                self.fetching = false;
                self.next = Some(now.mono + BOOKS_DOWN);
            }
            Input::Fetched { errands, next } => self.fetched(now, errands, next),
            Input::Said { id, said } => self.said(now, &id, said),
        }
        self.fetch(now.mono);
    }

    /// The moment of [`Post::deadline`] came, or went by.
    pub fn wake(&mut self, now: Now) {
        self.fetch(now.mono);
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.next.filter(|_| !self.fetching)
    }

    fn fetched(&mut self, now: Now, errands: Vec<Errand>, next: Option<Wall>) {
        self.fetching = false;
        let wait = next.map_or(LOOK, |at| micros(at.micros().saturating_sub(now.wall.micros())));
        self.next = Some(now.mono + wait.min(LOOK));
        for errand in errands {
            // Given out twice, since a report was late: the first goes on.
            if self.away.contains_key(errand.id()) {
                continue;
            }
            self.letters += usize::from(matches!(errand, Errand::Letter(_)));
            self.away.insert(errand.id().to_owned(), errand.clone());
            self.outputs.push_back(Output::Go(errand));
        }
    }

    fn said(&mut self, now: Now, id: &str, said: Said) {
        let Some(errand) = self.away.remove(id) else { return };
        let report = match errand {
            Errand::Letter(letter) => {
                self.letters -= 1;
                self.letter(now.wall, letter, said)
            }
            Errand::Payment(payment) => self.payment(now.wall, payment, said),
        };
        self.outputs.push_back(Output::Tell(report));
        // Behind it the next of its target may be due.
        self.stale = true;
    }

    fn letter(&mut self, now: Wall, letter: Letter, said: Said) -> Report {
        let why = match said {
            Said::Yes => return Report::Delivered { id: letter.id },
            Said::No(why) | Said::Unclear(why) => why,
        };
        let again = (letter.tries + 1 < self.config.tries).then(|| self.later(now, LETTER_WAITS_S, letter.tries));
        Report::Undelivered { id: letter.id, why, again, disable_after: self.config.disable_after }
    }

    fn payment(&mut self, now: Wall, payment: Payment, said: Said) -> Report {
        match said {
            Said::Yes => Report::Paid { key: payment.key },
            Said::No(why) => Report::Declined { key: payment.key, why },
            Said::Unclear(why) => {
                Report::Open { key: payment.key, why, again: self.later(now, PAYMENT_WAITS_S, payment.tries) }
            }
        }
    }

    /// Waits grow, and differ by chance: a thousand letters to one target that was down do not come back at once.
    fn later(&mut self, now: Wall, waits_s: &[u64], tries: u32) -> Wall {
        let wait_ms = waits_s[(tries as usize).min(waits_s.len() - 1)] * 1_000;
        now.plus_millis(self.rng.random_range(wait_ms * 3 / 4..=wait_ms * 5 / 4))
    }

    fn fetch(&mut self, now: Mono) {
        let due = self.stale || self.next.is_some_and(|at| at <= now);
        let (letters, payments) = (LETTERS - self.letters, PAYMENTS - (self.away.len() - self.letters).min(PAYMENTS));
        if self.fetching || !due || letters + payments == 0 {
            return;
        }
        (self.fetching, self.stale, self.next) = (true, false, None);
        self.outputs.push_back(Output::Fetch { letters, payments });
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Kind;

    const NOON: Wall = Wall::from_seconds(1_700_000_000);

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_millis(1_000_000 + seconds * 1_000), wall: NOON.plus_millis(seconds * 1_000) }
    }

    fn post() -> Post {
        Post::new(Config::default(), [7; 32])
    }

    fn letter(id: &str, tries: u32) -> Errand {
        let alert = Alert {
            id: "a".into(),
            kind: Kind::Test,
            at: NOON,
            organisation: None,
            name: String::new(),
            facts: Default::default(),
        };
        Errand::Letter(Letter { id: id.into(), alert, target: Target::Mail("a@example.com".parse().unwrap()), tries })
    }

    fn payment(tries: u32) -> Errand {
        Errand::Payment(Payment {
            key: "k".into(),
            organisation: "acme".parse().unwrap(),
            amount: Micros(1),
            currency: Currency::USD,
            hook: "https://pay.example.com/".parse().unwrap(),
            secret: "env:X".parse().unwrap(),
            tries,
        })
    }

    fn drain(post: &mut Post) -> Vec<Output> {
        std::iter::from_fn(|| post.poll()).collect()
    }

    fn fetched(errands: Vec<Errand>) -> Input {
        Input::Fetched { errands, next: None }
    }

    fn said(id: &str, said: Said) -> Input {
        Input::Said { id: id.into(), said }
    }

    #[test]
    fn it_fetches_at_the_start_when_something_is_written_and_when_the_next_is_due() {
        let mut post = post();
        post.wake(at(0));
        assert_eq!(drain(&mut post), [Output::Fetch { letters: LETTERS, payments: PAYMENTS }]);
        post.handle(at(1), Input::Written);
        assert_eq!(drain(&mut post), [], "one fetch at a time");
        post.handle(at(1), Input::Fetched { errands: vec![], next: Some(NOON.plus_millis(11_000)) });
        assert_eq!(drain(&mut post).len(), 1, "what was written meanwhile may not be in it");
        post.handle(at(2), Input::Fetched { errands: vec![], next: Some(NOON.plus_millis(11_000)) });
        assert_eq!(post.deadline(), Some(at(11).mono));
        post.wake(at(11));
        assert_eq!(drain(&mut post).len(), 1);
        post.handle(at(11), Input::NotFetched);
        assert_eq!(post.deadline(), Some(at(16).mono));
        post.wake(at(16));
        post.handle(at(16), Input::Fetched { errands: vec![], next: Some(NOON.plus_millis(9_000_000)) });
        assert_eq!(post.deadline(), Some(at(46).mono), "a wall clock that was set back must not stop the post");
    }

    #[test]
    fn no_more_than_so_many_are_on_their_way_and_letters_leave_room_for_payments() {
        let mut post = post();
        post.wake(at(0));
        drain(&mut post);
        let letters: Vec<Errand> = (0..LETTERS).map(|n| letter(&n.to_string(), 0)).collect();
        post.handle(at(0), fetched(letters));
        assert_eq!(drain(&mut post).len(), LETTERS);
        post.handle(at(1), Input::Written);
        assert_eq!(drain(&mut post), [Output::Fetch { letters: 0, payments: PAYMENTS }]);
        post.handle(at(1), fetched(vec![payment(0), letter("3", 0)]));
        assert_eq!(drain(&mut post), [Output::Go(payment(0))], "what is on its way goes once");
        post.handle(at(2), said("3", Said::Yes));
        let expected =
            [Output::Tell(Report::Delivered { id: "3".into() }), Output::Fetch { letters: 1, payments: PAYMENTS - 1 }];
        assert_eq!(drain(&mut post), expected);
        post.handle(at(2), said("3", Said::Yes));
        assert_eq!(drain(&mut post), [], "a late answer of what is done");
    }

    #[test]
    fn a_letter_is_tried_five_times_with_waits_that_grow_and_differ() {
        let mut waits = Vec::new();
        for tries in 0..5 {
            let mut post = Post::new(Config::default(), [tries as u8; 32]);
            post.handle(at(0), fetched(vec![letter("1", tries)]));
            post.handle(at(0), said("1", Said::Unclear("500".into())));
            let told = drain(&mut post).into_iter().find_map(|output| match output {
                Output::Tell(Report::Undelivered { again, disable_after: 20, .. }) => Some(again),
                _ => None,
            });
            waits.push(told.unwrap().map(|again| (again.micros() - NOON.micros()) / 1_000));
        }
        assert_eq!(waits[4], None);
        for (wait, usual) in waits[..4].iter().zip(LETTER_WAITS_S) {
            let usual = *usual as i64 * 1_000;
            assert!((usual * 3 / 4..=usual * 5 / 4).contains(&wait.unwrap()), "{waits:?}");
            assert_ne!(wait.unwrap(), usual);
        }
    }

    #[test]
    fn a_payment_is_settled_or_asked_again_without_end() {
        for (tries, answer, expected) in [
            (0, Said::Yes, Report::Paid { key: "k".into() }),
            (0, Said::No("card expired".into()), Report::Declined { key: "k".into(), why: "card expired".into() }),
        ] {
            let mut post = post();
            post.handle(at(0), fetched(vec![payment(tries)]));
            post.handle(at(0), said("k", answer));
            assert!(drain(&mut post).contains(&Output::Tell(expected)));
        }
        let mut post = post();
        post.handle(at(0), fetched(vec![payment(1_000)]));
        post.handle(at(0), said("k", Said::Unclear("no answer".into())));
        let open = drain(&mut post).into_iter().any(|output| {
            let Output::Tell(Report::Open { again, .. }) = output else { return false };
            (450_000..=750_000).contains(&((again.micros() - NOON.micros()) / 1_000))
        });
        assert!(open);
    }
}
