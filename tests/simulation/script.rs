//! Who does what, drawn from a seed before anything runs: customers, prices, callers, called people, a crash.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::fmt::Write;
use tollbridge::rating::grant::{Source, Unit};
use tollbridge::types::LegId;

/// One paying customer.
#[derive(Debug)]
pub struct House {
    pub id: String,
    /// Licences by the user, and so a pool; else by the minute.
    pub per_user: bool,
    /// May a per-user organiser spend credits on calls out?
    pub spends: bool,
    pub credits: i64,
    /// So much that no call here is ever short of credit.
    pub plenty: bool,
    pub fetching: Option<Fetching>,
    /// What comes back to a funding that is over is good for so many days.
    pub refund_days: u32,
}

/// Seconds or money beside the pool.
#[derive(Debug)]
pub struct Gift {
    pub id: String,
    pub house: usize,
    pub unit: Unit,
    pub source: Source,
    /// Milliseconds or millionths.
    pub amount: u64,
    pub priority: u16,
    /// Good for so long; by the wall's clock, which jumps.
    pub good_ms: Option<u64>,
    /// Given then; else from the beginning on.
    pub at_ms: Option<u64>,
}

/// How a house's money is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Fetching {
    pub trigger: i64,
    pub amount: i64,
    pub a_day: i64,
}

#[derive(Debug)]
pub struct Meeting {
    pub id: String,
    pub house: usize,
    pub conference_id: String,
    pub licensed: bool,
    pub callers_may_start: bool,
    pub lobby: bool,
    pub most: Option<u32>,
    pub confirm: bool,
}

impl Meeting {
    /// Whoever names it is in the mix at once.
    pub fn is_open(&self) -> bool {
        self.callers_may_start && !self.lobby && self.most.is_none()
    }
}

#[derive(Debug)]
pub struct Number {
    pub e164: String,
    pub toll_free: bool,
    pub house: Option<usize>,
    pub meeting: Option<usize>,
}

/// A row of the deck, in ten-thousandths of a dollar and in seconds.
#[derive(Debug)]
pub struct Rate {
    pub call_type: &'static str,
    pub prefix: &'static str,
    pub minute: i64,
    pub fee: i64,
    pub first_s: i64,
    pub next_s: i64,
}

/// What somebody on a phone does, some time after the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Keys(String),
    /// Sends no sound any more.
    Quiet,
    Hold,
    Resume,
    /// Asks by REFER that this number be rung; where it is one of ours, to go on there.
    Refer(String),
    /// Asks who is in the meeting, now and from now on (SUBSCRIBE).
    Watch,
    HangUp,
}

#[derive(Debug)]
pub struct Caller {
    pub at_ms: u64,
    pub carrier: usize,
    pub called: String,
    pub from: Option<String>,
    pub gives_up_ms: Option<u64>,
    /// No ACK of this call arrives.
    pub deaf: bool,
    /// It takes the place of this caller (Replaces), where that one is up.
    pub replaces: Option<usize>,
    pub acts: Vec<(u64, Act)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Answers {
        after_ms: u64,
    },
    Refuses {
        after_ms: u64,
        status: u16,
    },
    RingsOn,
    /// Answers with a description that nobody can use.
    Babbles {
        after_ms: u64,
    },
}

#[derive(Debug)]
pub struct Dial {
    pub at_ms: u64,
    pub meeting: usize,
    pub to: String,
    pub manner: Manner,
    pub acts: Vec<(u64, Act)>,
}

#[derive(Clone, Debug)]
pub enum Order {
    /// Somebody pays in, by card (said twice, for want of an answer) or by a transfer that comes late: its year is over
    /// after so many milliseconds.
    Pay {
        house: usize,
        amount: i64,
        key: String,
        twice: bool,
        good_ms: Option<u64>,
    },
    /// A correction by hand, downwards.
    Take {
        house: usize,
        amount: i64,
        key: String,
    },
    /// Of a leg that was settled, so many thousandths of what is left; or all.
    Refund {
        nth: usize,
        share: Option<i64>,
        key: String,
    },
    /// The same, once the leg is drawn.
    RefundOf {
        leg: LegId,
        amount: Option<i64>,
        key: String,
    },
    /// All legs of a house are priced again.
    Rerate {
        house: usize,
        key: String,
    },
    /// Other prices from now on.
    Deck {
        deck: usize,
    },
    Give {
        gift: usize,
    },
    EndGift {
        gift: usize,
    },
    /// What is over is taken back.
    Expire,
    Mute,
    Remove,
    End {
        meeting: usize,
    },
    Lock {
        meeting: usize,
        on: bool,
    },
    Admit {
        meeting: usize,
    },
    Apply,
    Compare,
    /// Something is forbidden to a house, or allowed again.
    Ban {
        house: usize,
        ban: Ban,
        on: bool,
    },
    /// The switch that ends its calls.
    Revoke {
        house: usize,
        dial_out: bool,
        lock: bool,
        /// The books have done it, and their answer is lost.
        lost: bool,
    },
}

/// What may be forbidden to a house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ban {
    House,
    Owner,
    /// The owner has no licence.
    Licence,
    /// The owner may not have phones rung.
    DialOut,
}

impl Ban {
    const ALL: [Ban; 4] = [Ban::House, Ban::Owner, Ban::Licence, Ban::DialOut];
}

/// What befalls the books' database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pain {
    /// A statement's answer is lost, so many statements from then.
    Lost { after: u64 },
    /// The node dies between two statements, and is gone for a while.
    Death { after: u64, done: bool, down_ms: u64 },
    /// The database cannot be had.
    Out { for_ms: u64 },
}

/// A next life that dies, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relapse {
    /// While it starts, so many statements after it was opened.
    Starting { after: u64, done: bool },
    /// When the books have told it what the last life left, and before it has said a word of that.
    Silent,
    /// So soon that its words may not have been heard.
    Soon { after_ms: u64 },
    /// It lives.
    Never,
}

/// What is forbidden to which house.
pub type Bans = BTreeSet<(usize, Ban)>;

#[derive(Debug)]
pub struct Script {
    pub seed: u64,
    pub houses: Vec<House>,
    pub gifts: Vec<Gift>,
    pub meetings: Vec<Meeting>,
    pub numbers: Vec<Number>,
    /// Two of them; the first is in use from the beginning.
    pub decks: [Vec<Rate>; 2],
    pub callers: Vec<Caller>,
    pub dials: Vec<Dial>,
    /// Phones that are rung by REFER alone.
    pub referred: Vec<Dial>,
    pub orders: Vec<(u64, Order)>,
    /// When the bridge dies, and how long it is gone.
    pub crashes: Vec<(u64, u64)>,
    /// Steps of the wall clock, seconds.
    pub jumps: Vec<(u64, i64)>,
    pub length_ms: u64,
    /// Sound goes through the real mixer, packet by packet.
    pub mixed: bool,
    /// Of 1,000 requests, so many find the books closed.
    pub faults: u32,
    /// How long the books take, at the most.
    pub books_ms: u64,
    /// Requests of so long reach the books at one moment.
    pub bunch_ms: u64,
    pub pains: Vec<(u64, Pain)>,
    /// What becomes of the lives after the first, each in its turn.
    pub relapses: Vec<Relapse>,
    /// Whoever dies goes on beside the next life.
    pub haunted: bool,
    /// At the end the bridge is stopped; else everybody hangs up.
    pub stops: bool,
}

pub const PIN: &str = "4711";
pub const CARRIERS: [&str; 2] = ["192.0.2.2", "192.0.2.3"];
/// More than any seed can spend.
const PLENTY: i64 = 1_000_000_000;

/// Drawn apart, so that a seed's callers are the same with grants as without.
fn gifts(seed: u64, houses: usize, length_ms: u64) -> Vec<Gift> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x61f7_5eed);
    let mut gifts = Vec::new();
    for house in 0..houses {
        for _ in 0..*[0, 0, 1, 2].choose(&mut rng).unwrap() {
            let unit = *[Unit::Seconds, Unit::Money].choose(&mut rng).unwrap();
            gifts.push(Gift {
                id: format!("gift-{}", gifts.len()),
                house,
                unit,
                source: *[Source::Promo, Source::Paid].choose(&mut rng).unwrap(),
                amount: match unit {
                    Unit::Seconds => rng.random_range(1..900_000),
                    Unit::Money => rng.random_range(1..200_000),
                },
                priority: rng.random_range(0..3),
                good_ms: rng.random_ratio(1, 3).then(|| rng.random_range(1..length_ms)),
                at_ms: rng.random_ratio(1, 3).then(|| rng.random_range(1..length_ms)),
            });
        }
    }
    gifts
}

/// What is done with money while calls run, drawn apart.
fn deeds(seed: u64, houses: usize, gifts: &[Gift], length_ms: u64) -> Vec<(u64, Order)> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x000d_eed5);
    let mut deeds = Vec::new();
    for n in 0..rng.random_range(0..30) {
        let house = rng.random_range(0..houses);
        let key = format!("deed-{n}");
        let deed = match rng.random_range(0..20) {
            0..5 => Order::Pay {
                house,
                amount: rng.random_range(1..400_000),
                key,
                twice: rng.random(),
                good_ms: rng.random_ratio(1, 2).then(|| rng.random_range(1..length_ms)),
            },
            5..7 => Order::Take { house, amount: rng.random_range(1..100_000), key },
            7..13 => {
                let share = rng.random_ratio(1, 2).then(|| rng.random_range(1..1_200));
                Order::Refund { nth: rng.random_range(0..1_000), share, key }
            }
            13..15 => Order::Rerate { house, key },
            15..17 => Order::Deck { deck: rng.random_range(0..2) },
            17 if !gifts.is_empty() => Order::EndGift { gift: rng.random_range(0..gifts.len()) },
            _ => Order::Expire,
        };
        deeds.push((rng.random_range(0..length_ms), deed));
    }
    let later = |(gift, at_ms): (usize, Option<u64>)| Some((at_ms?, Order::Give { gift }));
    deeds.extend(gifts.iter().map(|gift| gift.at_ms).enumerate().filter_map(later));
    deeds
}

/// How houses have money fetched, and what comes of what comes back, drawn apart.
fn wishes(seed: u64, houses: &mut [House]) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x7e7c4);
    for house in houses {
        house.refund_days = *[0, 7].choose(&mut rng).unwrap();
        if !house.plenty && rng.random_ratio(1, 2) {
            // A hook is asked for whole hundredths of a cent.
            let amount = rng.random_range(1..3_000) * 100;
            let a_day = amount * rng.random_range(1..8);
            house.fetching = Some(Fetching { trigger: rng.random_range(1..2_000) * 100, amount, a_day });
        }
    }
}

/// Drawn apart, too. A statement is struck that belongs to a request of about that moment.
fn pains(seed: u64, length_ms: u64) -> (u64, Vec<(u64, Pain)>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x0bad_b00c);
    let bunch_ms = *[0, 0, 5, 40, 400].choose(&mut rng).unwrap();
    let count = *[0, 0, 1, 2, 4, 8].choose(&mut rng).unwrap();
    let mut pain = |_| {
        let (at_ms, after) = (rng.random_range(0..length_ms), rng.random_range(0..60));
        let pain = match rng.random_range(0..10) {
            0..5 => Pain::Lost { after },
            5..9 => Pain::Death { after, done: rng.random(), down_ms: rng.random_range(0..20_000) },
            _ => Pain::Out { for_ms: rng.random_range(100..90_000) },
        };
        (at_ms, pain)
    };
    let mut pains: Vec<_> = (0..count).map(&mut pain).collect();
    pains.sort_by_key(|(at_ms, _)| *at_ms);
    (bunch_ms, pains)
}

/// Drawn apart.
fn relapses(seed: u64) -> Vec<Relapse> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x4e1a_95e5);
    if matches!(seed % 5, 2 | 4) {
        return Vec::new();
    }
    let mut relapse = |_| match rng.random_range(0..6) {
        0..2 => Relapse::Starting { after: rng.random_range(0..50), done: rng.random() },
        2 => Relapse::Silent,
        3 => Relapse::Soon { after_ms: rng.random_range(0..3_000) },
        _ => Relapse::Never,
    };
    (0..6).map(&mut relapse).collect()
}

/// A house that nobody else knows of, with a meeting; gives the number that leads there.
fn add_house(script: &mut Script, (per_user, spends): (bool, bool), credits: i64, callers_may_start: bool) -> String {
    let (house, meeting) = (script.houses.len(), script.meetings.len());
    script.houses.push(House {
        id: format!("house-{house}"),
        per_user,
        spends,
        credits,
        plenty: credits == PLENTY,
        fetching: None,
        refund_days: 0,
    });
    script.meetings.push(Meeting {
        id: format!("meeting-{meeting}"),
        house,
        conference_id: format!("31400{meeting:02}"),
        licensed: true,
        callers_may_start,
        lobby: false,
        most: None,
        confirm: false,
    });
    let e164 = format!("+39068800{meeting:03}");
    script.numbers.push(Number { e164: e164.clone(), toll_free: false, house: Some(house), meeting: Some(meeting) });
    e164
}

/// Somebody who calls once, and does that.
fn caller(at_ms: u64, carrier: usize, called: &str, from: String, acts: Vec<(u64, Act)>) -> Caller {
    let called = called.to_owned();
    Caller { at_ms, carrier, called, from: Some(from), gives_up_ms: None, deaf: false, replaces: None, acts }
}

/// Somebody to be rung, under a number of their own.
fn outsider(rng: &mut StdRng, number: u64) -> String {
    let prefix = *["+4477009", "+4420794", "+3902123", "+2632421"].choose(rng).unwrap();
    format!("{prefix}{number:04}")
}

/// So long a house's little money lasts all who talk there.
const LEAN_MS: std::ops::Range<i64> = 210_000..270_000;
/// A world that is over sooner has no such house.
const LEAN_LENGTH_MS: u64 = 350_000;

/// A house whose money runs out while its organiser and others talk, and nothing else happens to it: they call one number,
/// and stay. Drawn apart, and last: nobody else knows of it.
fn lean(script: &mut Script) {
    let mut rng = StdRng::seed_from_u64(script.seed ^ 0x1ea9);
    if !matches!(script.seed % 5, 0 | 1) || script.mixed || script.length_ms < LEAN_LENGTH_MS {
        return;
    }
    let guests = rng.random_range(3..=5);
    let rate = script.decks[0].iter().find(|rate| (rate.call_type, rate.prefix) == ("dial-in-toll", "39"));
    let rate = rate.expect("a rate for each number");
    let burns = rate.minute * 100 * (guests + 1) * rng.random_range(LEAN_MS) / 60_000;
    let credits = burns + rate.fee * 100 * (guests + 1);
    let called = add_house(script, (false, true), credits, false);
    for guest in 0..=guests {
        let keys = [(1_500, Act::Keys("*".into())), (4_000, Act::Keys(format!("{PIN}#")))];
        let at_ms = rng.random_range(0..if guest == 0 { 2_000 } else { 20_000 });
        let carrier = rng.random_range(0..CARRIERS.len());
        let acts = if guest == 0 { keys.to_vec() } else { Vec::new() };
        script.callers.push(caller(at_ms, carrier, &called, format!("+39333999990{guest}"), acts));
    }
}

/// A world that is over sooner has no house with grants of its own.
const RICH_LENGTH_MS: u64 = 200_000;

/// A house with grants of all kinds, and money, where one talks at a time, for so long that grant after grant is used up.
/// Drawn apart, too.
fn rich(script: &mut Script) {
    let mut rng = StdRng::seed_from_u64(script.seed ^ 0x0041_c4ed);
    if !matches!(script.seed % 5, 1 | 3)
        || script.mixed
        || script.length_ms < RICH_LENGTH_MS
        || script.meetings.len() > 9
    {
        return;
    }
    let rate = script.decks[0].iter().find(|rate| (rate.call_type, rate.prefix) == ("dial-in-toll", "39"));
    let minute = rate.expect("a rate for each number").minute.unsigned_abs() * 100;
    let called = add_house(script, (false, true), PLENTY, true);
    let house = script.houses.len() - 1;
    for n in 0..rng.random_range(3..=5) {
        let unit = if n % 2 == 0 { Unit::Seconds } else { Unit::Money };
        let gift = script.gifts.len();
        script.gifts.push(Gift {
            id: format!("gift-{gift}"),
            house,
            unit,
            source: *[Source::Promo, Source::Paid].choose(&mut rng).unwrap(),
            amount: match unit {
                Unit::Seconds => rng.random_range(10_000..90_000),
                Unit::Money => minute * rng.random_range(1..10) / 6 + 100,
            },
            priority: rng.random_range(0..3),
            good_ms: None,
            at_ms: Some(10 + n),
        });
        script.orders.push((10 + n, Order::Give { gift }));
    }
    let half = script.length_ms / 2;
    for (guest, at_ms) in [3_000, half + 20_000].into_iter().enumerate() {
        let carrier = rng.random_range(0..CARRIERS.len());
        let acts = vec![(half - 10_000, Act::HangUp)];
        script.callers.push(caller(at_ms, carrier, &called, format!("+39333999980{guest}"), acts));
    }
}

/// The one whose telephones may have others rung, and take each other's places.
pub const TRANSFERS: usize = 0;

/// A world that is over sooner has none of that: it is all done before people are told to leave.
const SENT_LENGTH_MS: u64 = 250_000;

/// So many conference IDs may have seven digits.
const MOST_MEETINGS: usize = 10;

/// When somebody hangs up who has done all this: later, or at once, as many telephones do that have referred.
fn hangs_up(rng: &mut StdRng, acts: &[(u64, Act)]) -> u64 {
    let last = acts.iter().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
    let most = if rng.random_ratio(1, 3) { 30 } else { 100_000 };
    last + rng.random_range(0..most)
}

/// A house whose organiser, for whom all wait, has people rung by REFER, once the PIN is keyed; a guest asks for that in vain; and other
/// telephones take the places of both, and go on asking. Some watch who is there. Drawn apart, and last: nobody else knows of it.
fn sent(script: &mut Script) {
    let mut rng = StdRng::seed_from_u64(script.seed ^ 0x5e47);
    let is_full = script.meetings.len() >= MOST_MEETINGS;
    if script.seed.is_multiple_of(3) || script.length_ms < SENT_LENGTH_MS || is_full {
        return;
    }
    let terms = (rng.random(), rng.random());
    let called = add_house(script, terms, PLENTY, false);
    let meeting = script.meetings.len() - 1;
    let first = script.callers.len();
    let mut began = [0, 0];
    for who in 0..4 {
        // The organiser, a guest, and those who come for them.
        let (leads, replaces) = (who == 0, (who >= 2).then(|| who - 2));
        let at_ms = match replaces {
            Some(old) => began[old] + rng.random_range(8_000..60_000),
            None => rng.random_range(1_000..script.length_ms / 2),
        };
        let mut acts = Vec::new();
        let mut moment = rng.random_range(500..3_000);
        for (keys, is_pressed) in [("*", leads), ("4711#", leads), ("", true), ("", rng.random())] {
            match keys {
                _ if !is_pressed => {}
                "" => {
                    let to = outsider(&mut rng, 5_000 + script.referred.len() as u64);
                    acts.push((moment, Act::Refer(to.clone())));
                    let manner = match rng.random_range(0..10) {
                        0..8 => Manner::Answers { after_ms: rng.random_range(0..9_000) },
                        8 => Manner::Refuses { after_ms: rng.random_range(0..9_000), status: 486 },
                        _ => Manner::RingsOn,
                    };
                    let stays = rng.random_ratio(2, 3).then(|| (rng.random_range(1_000..200_000), Act::HangUp));
                    script.referred.push(Dial { at_ms, meeting, to, manner, acts: stays.into_iter().collect() });
                }
                keys => acts.push((moment, Act::Keys(keys.to_owned()))),
            }
            moment += rng.random_range(1_500..6_000);
        }
        if rng.random() {
            acts.push((rng.random_range(500..30_000), Act::Watch));
        }
        if rng.random_ratio(2, 3) {
            acts.push((hangs_up(&mut rng, &acts), Act::HangUp));
        }
        if who < 2 {
            began[who] = at_ms;
        }
        let one = caller(at_ms, TRANSFERS, &called, format!("+39333999970{who}"), acts);
        script.callers.push(Caller { replaces: replaces.map(|old| first + old), ..one });
    }
}

/// Callers who are moved on by REFER: to numbers that lead to meetings of others, to such as ask for a meeting, which some then name,
/// and back; and to such as nobody may be moved to. So many numbers and meetings are for everybody. Drawn apart, and last.
fn moved(script: &mut Script, (numbers, meetings): (usize, usize)) {
    let mut rng = StdRng::seed_from_u64(script.seed ^ 0x00b5);
    if script.meetings.len() >= MOST_MEETINGS {
        return;
    }
    let ids: Vec<String> = script.meetings[..meetings].iter().map(|meeting| meeting.conference_id.clone()).collect();
    let terms = (rng.random(), rng.random());
    let home = add_house(script, terms, PLENTY, true);
    let mut numbers: Vec<(String, bool)> =
        script.numbers[..numbers].iter().map(|number| (number.e164.clone(), number.meeting.is_none())).collect();
    numbers.push((home.clone(), false));
    let alike = |(e164, _): &&(String, bool)| {
        country(e164) == "IT" && script.numbers.iter().any(|number| number.e164 == *e164 && !number.toll_free)
    };
    let alike: Vec<(String, bool)> = numbers.iter().filter(alike).cloned().collect();
    for who in 0..rng.random_range(2..=5) {
        let mut acts = Vec::new();
        let mut moment = rng.random_range(500..10_000);
        for _ in 0..rng.random_range(1..=4) {
            let (to, asks) = if rng.random_ratio(5, 6) { &alike } else { &numbers }.choose(&mut rng).unwrap();
            acts.push((moment, Act::Refer(to.clone())));
            moment += rng.random_range(500..8_000);
            if *asks && rng.random_ratio(4, 5) {
                acts.push((moment, Act::Keys(ids.choose(&mut rng).unwrap().clone())));
            }
            moment += rng.random_range(3_000..30_000);
        }
        if rng.random_ratio(2, 3) {
            acts.push((hangs_up(&mut rng, &acts), Act::HangUp));
        }
        let at_ms = rng.random_range(1_000..script.length_ms / 2);
        script.callers.push(caller(at_ms, TRANSFERS, &home, format!("+39333999960{who}"), acts));
    }
}

struct Author {
    rng: StdRng,
    length_ms: u64,
}

impl Script {
    pub fn draw(seed: u64) -> Script {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5ce7_a210);
        let mixed = seed % 10 == 3;
        let length_ms = match seed % 10 {
            3 => rng.random_range(40_000..90_000),
            7 => rng.random_range(3_600_000..9_000_000),
            _ => rng.random_range(60_000..900_000),
        };
        let mut author = Author { rng, length_ms };
        let mut houses = author.houses();
        wishes(seed, &mut houses);
        let meetings = author.meetings(&houses);
        let numbers = author.numbers(&houses, &meetings);
        let calls = if mixed { author.rng.random_range(3..12) } else { author.rng.random_range(5..=40) };
        let callers = (0..calls).map(|_| author.caller(&meetings, &numbers)).collect();
        let dials = author.rng.random_range(0..=calls / 3);
        let dials = (0..dials).map(|n| author.dial(n, meetings.len())).collect();
        let orders = author.rng.random_range(0..25);
        let mut orders: Vec<(u64, Order)> = (0..orders).map(|_| author.order(&houses, &meetings)).collect();
        for (n, (_, order)) in orders.iter_mut().enumerate() {
            if let Order::Pay { key, .. } = order {
                *key = format!("paid-{n}");
            }
        }
        author.bans(&mut orders, houses.len());
        let gifts = gifts(seed, houses.len(), length_ms);
        orders.extend(deeds(seed, houses.len(), &gifts, length_ms));
        let crashes = author.crashes();
        let (bunch_ms, pains) = pains(seed, length_ms);
        let rng = &mut author.rng;
        let jumps =
            (0..rng.random_range(0..3)).map(|_| (rng.random_range(0..length_ms), rng.random_range(-3_600..3_600)));
        let mut script = Script {
            seed,
            gifts,
            houses,
            meetings,
            numbers,
            jumps: jumps.collect(),
            decks: [rates(&mut author.rng), rates(&mut StdRng::seed_from_u64(seed ^ 0xdec6))],
            callers,
            dials,
            referred: Vec::new(),
            orders,
            crashes,
            length_ms,
            mixed,
            faults: if author.rng.random_ratio(1, 4) { author.rng.random_range(1..250) } else { 0 },
            books_ms: *[1, 5, 50, 3_000].choose(&mut author.rng).unwrap(),
            bunch_ms,
            pains,
            relapses: relapses(seed),
            haunted: seed % 3 == 1,
            stops: author.rng.random_ratio(1, 3),
        };
        let known = (script.numbers.len(), script.meetings.len());
        lean(&mut script);
        rich(&mut script);
        sent(&mut script);
        moved(&mut script, known);
        script
    }

    /// The books may not answer.
    pub fn is_troubled(&self) -> bool {
        self.faults > 0 || !self.pains.is_empty()
    }

    /// A request waits for the books so long at the most, both ways.
    pub fn wait_ms(&self) -> u64 {
        2 * self.books_ms + self.bunch_ms
    }

    /// The file for `apply`.
    pub fn document(&self, bans: &Bans) -> String {
        let mut text = "rates = \"rates.csv\"\n".to_owned();
        for (at, house) in self.houses.iter().enumerate() {
            self.write_house(&mut text, at, house, bans);
        }
        for number in &self.numbers {
            let (kind, country) = (if number.toll_free { "toll-free" } else { "toll" }, country(&number.e164));
            let _ =
                write!(text, "[[number]]\ne164 = \"{}\"\nkind = \"{kind}\"\ncountry = \"{country}\"\n", number.e164);
            let _ = number.house.map(|at| writeln!(text, "organisation = \"{}\"", self.houses[at].id));
            let _ = number.meeting.map(|at| writeln!(text, "meeting = \"{}\"", self.meetings[at].id));
        }
        let [first, second] = CARRIERS;
        let _ = write!(
            text,
            "[[carrier]]\nid = \"first\"\nsources = [\"{first}\"]\nroute = \"udp:{first}:5060\"\ntransfers = true\n\
             [[carrier]]\nid = \"second\"\nsources = [\"{second}\"]\n"
        );
        text
    }

    fn write_house(&self, text: &mut String, at: usize, house: &House, bans: &Bans) {
        let is = |ban| bans.contains(&(at, ban));
        let licences = match (house.per_user, house.spends) {
            _ if is(Ban::Licence) => "",
            (false, _) => "\"pay-per-minute\"",
            (true, true) => "\"audio-conferencing\", \"communications-credits\"",
            (true, false) => "\"audio-conferencing\"",
        };
        let fetching = house.fetching.map_or_else(String::new, |fetching| {
            format!(
                "[organisation.recharge]\ntrigger = \"{}\"\namount = \"{}\"\nmax_per_day = \"{}\"\n\
                 hook = \"https://bank.example/pay\"\nhook_secret = \"env:BANK\"\n",
                dollars(fetching.trigger),
                dollars(fetching.amount),
                dollars(fetching.a_day)
            )
        });
        let _ = write!(
            text,
            "[[organisation]]\nid = \"{id}\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"{}\"\n\
             allow_prefixes = [\"263\"]\nlocked = \"{}\"\nrefund_days = {}\n{fetching}\
             [[organisation.user]]\nid = \"owner-{id}\"\nlicences = [{licences}]\ndial_out = \"{}\"\npin = \"{PIN}\"\n\
             locked = \"{}\"\n\
             [[organisation.user]]\nid = \"guest-{id}\"\n",
            dollars(house.credits),
            if is(Ban::House) { "why" } else { "" },
            house.refund_days,
            if is(Ban::DialOut) { "none" } else { "any" },
            if is(Ban::Owner) { "why" } else { "" },
            id = house.id,
        );
        for meeting in self.meetings.iter().filter(|meeting| meeting.house == at) {
            let owner = if meeting.licensed { "owner" } else { "guest" };
            let _ = write!(
                text,
                "[[organisation.meeting]]\nid = \"{}\"\norganiser = \"{owner}-{}\"\nconference_id = \"{}\"\n\
                 callers_may_start = {}\nlobby = {}\nconfirm_join = {}\n",
                meeting.id, house.id, meeting.conference_id, meeting.callers_may_start, meeting.lobby, meeting.confirm
            );
            let _ = meeting.most.map(|most| writeln!(text, "max_participants = {most}"));
        }
    }

    pub fn deck(&self, deck: usize) -> String {
        let mut text = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n".to_owned();
        for rate in &self.decks[deck] {
            let _ = writeln!(
                text,
                "{},{},Somewhere,{},{},{},{},2020-01-01,standard",
                rate.call_type,
                rate.prefix,
                dollars(rate.minute * 100),
                dollars(rate.fee * 100),
                rate.first_s,
                rate.next_s
            );
        }
        text
    }

    pub fn meeting_named(&self, id: &str) -> Option<usize> {
        self.meetings.iter().position(|meeting| meeting.id == id)
    }
}

pub fn country(e164: &str) -> &'static str {
    if e164.starts_with("+39") { "IT" } else { "GB" }
}

/// Micro-dollars as a decimal.
fn dollars(micros: i64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn rates(rng: &mut StdRng) -> Vec<Rate> {
    let rows = [
        ("dial-in-toll", "39"),
        ("dial-in-toll", "44"),
        ("dial-in-toll-free", "39"),
        ("dial-in-toll-free", "44"),
        ("dial-out", "39"),
        ("dial-out", "44"),
        ("dial-out", "447"),
        ("dial-out", "263"),
    ];
    let mut row = |(call_type, prefix)| {
        let (first_s, next_s) = *[(60, 60), (60, 60), (1, 1), (6, 6), (30, 6), (60, 1), (7, 13)].choose(rng).unwrap();
        let fee = if rng.random_ratio(1, 3) { rng.random_range(1..500) } else { 0 };
        Rate { call_type, prefix, minute: rng.random_range(1..1_500), fee, first_s, next_s }
    };
    rows.into_iter().map(&mut row).collect()
}

impl Author {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn moment(&mut self) -> u64 {
        self.rng.random_range(0..self.length_ms * 4 / 5)
    }

    fn houses(&mut self) -> Vec<House> {
        let count = self.rng.random_range(1..=3);
        let mut house = |n| {
            let plenty = self.chance(60);
            let little = self.rng.random_range(0..40) * 10_000;
            House {
                id: format!("house-{n}"),
                per_user: self.chance(40),
                spends: self.chance(70),
                credits: if plenty { PLENTY } else { little },
                plenty,
                fetching: None,
                refund_days: 0,
            }
        };
        (0..count).map(&mut house).collect()
    }

    fn meetings(&mut self, houses: &[House]) -> Vec<Meeting> {
        let mut meetings = Vec::new();
        for house in 0..houses.len() {
            for _ in 0..self.rng.random_range(1..=3) {
                let n = meetings.len();
                meetings.push(Meeting {
                    id: format!("meeting-{n}"),
                    house,
                    conference_id: format!("31400{n:02}"),
                    licensed: self.chance(95),
                    callers_may_start: self.chance(60),
                    lobby: self.chance(30),
                    most: if self.chance(15) { Some(self.rng.random_range(1..4)) } else { None },
                    confirm: self.chance(25),
                });
            }
        }
        meetings
    }

    fn numbers(&mut self, houses: &[House], meetings: &[Meeting]) -> Vec<Number> {
        let number = |e164: &str, toll_free, house, meeting| Number { e164: e164.into(), toll_free, house, meeting };
        let mut numbers = vec![
            number("+390612345678", false, None, None),
            number("+442079460000", false, None, None),
            number("+39800123456", true, None, None),
            number("+448081570000", true, None, None),
        ];
        for house in 0..houses.len() {
            if self.chance(50) {
                numbers.push(number(&format!("+39068765430{house}"), false, Some(house), None));
            }
        }
        for (at, meeting) in meetings.iter().enumerate() {
            if self.chance(50) {
                let toll_free = self.chance(30);
                numbers.push(number(&format!("+39068800{at:03}"), toll_free, Some(meeting.house), Some(at)));
            }
        }
        numbers
    }

    fn caller(&mut self, meetings: &[Meeting], numbers: &[Number]) -> Caller {
        let wrong_number = self.chance(3);
        let number = numbers.choose(&mut self.rng).unwrap();
        let mut acts = Vec::new();
        let mut at_ms = self.rng.random_range(300..7_000);
        if number.meeting.is_none() {
            at_ms = self.name_a_meeting(&mut acts, at_ms, meetings, number.house);
        }
        if self.chance(40) {
            let pin = if self.chance(70) { PIN } else { "9999" };
            at_ms += self.rng.random_range(500..9_000);
            acts.push((at_ms, Act::Keys("*".into())));
            at_ms += self.rng.random_range(500..3_000);
            acts.push((at_ms, Act::Keys(format!("{pin}#"))));
        }
        self.stay(&mut acts, at_ms);
        Caller {
            at_ms: self.moment(),
            carrier: self.rng.random_range(0..CARRIERS.len()),
            called: if wrong_number { "+390600000000".into() } else { number.e164.clone() },
            from: if self.chance(90) { Some(format!("+3933312345{:02}", self.rng.random_range(0..15))) } else { None },
            gives_up_ms: if self.chance(8) { Some(self.rng.random_range(0..4_000)) } else { None },
            deaf: self.chance(4),
            replaces: None,
            acts,
        }
    }

    fn name_a_meeting(&mut self, acts: &mut Vec<(u64, Act)>, at: u64, all: &[Meeting], house: Option<usize>) -> u64 {
        let mut at_ms = at;
        for _ in 0..self.rng.random_range(0..9_u32).saturating_sub(6) {
            acts.push((at_ms, Act::Keys("9999999".into())));
            at_ms += self.rng.random_range(2_000..12_000);
        }
        if self.chance(4) {
            // Says nothing, or not enough.
            acts.push((at_ms, Act::Keys("314".into())));
            return at_ms;
        }
        let fits = |meeting: &&Meeting| house.is_none_or(|house| meeting.house == house);
        let mut fitting: Vec<&Meeting> = all.iter().filter(fits).collect();
        if self.chance(5) {
            fitting = all.iter().collect();
        }
        let id = &fitting.choose(&mut self.rng).unwrap().conference_id;
        let swallowed = if self.chance(30) { "#" } else { "" };
        acts.push((at_ms, Act::Keys(format!("{id}{swallowed}"))));
        at_ms + self.rng.random_range(1_000..10_000)
    }

    /// Stays for a while, presses keys, goes silent, is put on hold, and hangs up, or does not.
    fn stay(&mut self, acts: &mut Vec<(u64, Act)>, at: u64) {
        let longest = match self.rng.random_range(0..10) {
            0..2 => 9_000,
            2..7 => 200_000,
            _ => self.length_ms,
        };
        let until = at + self.rng.random_range(0..longest.max(1));
        let mut moment = || self.rng.random_range(0..until);
        let moments = [moment(), moment(), moment()];
        if self.chance(40) {
            let code = *["*6", "*6", "*7", "*4", "*8", "*3", "*1", "*9", "##", "*5"].choose(&mut self.rng).unwrap();
            acts.push((at.max(moments[0]), Act::Keys(code.into())));
        }
        if self.chance(10) {
            acts.push((moments[1], Act::Hold));
            if self.chance(60) {
                acts.push((moments[1] + self.rng.random_range(100..60_000), Act::Resume));
            }
        }
        if self.chance(8) {
            acts.push((moments[2], Act::Quiet));
        }
        if self.chance(85) {
            // At any moment, also amid the digits.
            let early = self.chance(15);
            acts.push((if early { moments[1] } else { until }, Act::HangUp));
        }
    }

    fn dial(&mut self, number: u64, meetings: usize) -> Dial {
        let to = outsider(&mut self.rng, number);
        let after_ms = self.rng.random_range(0..20_000);
        let manner = match self.rng.random_range(0..20) {
            0..12 => Manner::Answers { after_ms },
            12..16 => {
                let status = *[486, 603, 404, 503, 480].choose(&mut self.rng).unwrap();
                Manner::Refuses { after_ms, status }
            }
            16..19 => Manner::RingsOn,
            _ => Manner::Babbles { after_ms },
        };
        let mut acts = Vec::new();
        let mut at_ms = self.rng.random_range(300..8_000);
        if self.chance(60) {
            acts.push((at_ms, Act::Keys("1".into())));
            at_ms += 500;
        }
        self.stay(&mut acts, at_ms);
        let meeting = self.rng.random_range(0..meetings);
        Dial { at_ms: self.moment(), meeting, to, manner, acts }
    }

    fn order(&mut self, houses: &[House], meetings: &[Meeting]) -> (u64, Order) {
        let meeting = self.rng.random_range(0..meetings.len());
        let order = match self.rng.random_range(0..20) {
            0..3 => Order::Pay {
                house: self.rng.random_range(0..houses.len()),
                amount: self.rng.random_range(1..50) * 10_000,
                key: String::new(),
                twice: false,
                good_ms: None,
            },
            3..5 => Order::Mute,
            5..8 => Order::Remove,
            8 => Order::End { meeting },
            9..11 => Order::Lock { meeting, on: self.chance(60) },
            11..14 => Order::Admit { meeting },
            14 => Order::Apply,
            _ => Order::Compare,
        };
        (self.rng.random_range(0..self.length_ms), order)
    }

    /// Something is forbidden for a while, most of it again allowed while people still call.
    fn bans(&mut self, orders: &mut Vec<(u64, Order)>, houses: usize) {
        for _ in 0..self.rng.random_range(0..4_u32) {
            let (house, at_ms) = (self.rng.random_range(0..houses), self.moment());
            let ban = if self.chance(40) {
                let order =
                    Order::Revoke { house, dial_out: self.chance(40), lock: self.chance(40), lost: at_ms % 2 == 0 };
                orders.push((at_ms, order));
                Ban::House
            } else {
                let ban = *Ban::ALL.choose(&mut self.rng).unwrap();
                orders.push((at_ms, Order::Ban { house, ban, on: true }));
                ban
            };
            let until_ms = at_ms + self.rng.random_range(1..60_000);
            orders.push((until_ms, Order::Ban { house, ban, on: false }));
        }
    }

    fn crashes(&mut self) -> Vec<(u64, u64)> {
        let count = [0, 0, 1, 1, 2][self.rng.random_range(0..5)];
        let mut moments: Vec<u64> = (0..count).map(|_| self.rng.random_range(1_000..self.length_ms)).collect();
        moments.sort();
        moments.dedup_by(|later, earlier| *later < *earlier + 30_000);
        moments.into_iter().map(|at| (at, self.rng.random_range(0..20_000))).collect()
    }
}
