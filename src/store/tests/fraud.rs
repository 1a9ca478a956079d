//! A stolen account, and what it may do until somebody wakes up.

use super::*;
use crate::rating::grant::granted_money;
use crate::trunk::DialPlan;
use std::collections::BTreeSet;

/// [`FILE`] with these limits of aurora, and money enough.
pub(super) fn limited(limits: &str) -> String {
    FILE.replacen("credits = \"1.00\"", &format!("credits = \"100.00\"\n[organisation.limits]\n{limits}"), 1)
}

async fn bench(limits: &str) -> Bench {
    let bench = Bench::empty().await;
    bench.apply(&limited(limits)).await.unwrap();
    bench
}

const HOUR_MS: u64 = 3_600_000;

impl Bench {
    /// Calls to Britain at a moment, until one is refused: what they hold, and the refusal.
    pub(super) async fn call_until_refused(&self, at: Wall) -> (Vec<LegId>, Cause) {
        let mut legs = Vec::new();
        for _ in 0..200 {
            let leg = self.leg();
            match self.store.open_leg(OpenLeg { invited: at, ..dial(leg, "+447700900123", "studio") }).await.unwrap() {
                Opened::Granted(_) => legs.push(leg),
                Opened::Refused(cause) => return (legs, cause),
                Opened::NoPayerYet => unreachable!("the meeting is named"),
            }
        }
        panic!("200 calls, and none was refused")
    }

    /// Twenty lines, all talking as long as they are let: what all cost, and what each was told at its end.
    pub(super) async fn talk_until_cut(&self, call: impl Fn(LegId) -> OpenLeg) -> (Micros, Cause) {
        let (mut lines, mut told) = (Vec::new(), BTreeSet::new());
        for _ in 0..20 {
            let leg = self.leg();
            match self.store.open_leg(call(leg)).await.unwrap() {
                Opened::Granted(grant) => {
                    self.store.answered(answer(leg)).await.unwrap();
                    lines.push((leg, grant.until_ms));
                }
                Opened::Refused(cause) => {
                    told.insert(cause.slug());
                }
                Opened::NoPayerYet => unreachable!("the meeting is named"),
            }
        }
        assert!(lines.len() >= 10, "{}", lines.len());
        let mut charged = Micros::ZERO;
        for (leg, mut until_ms) in lines {
            let mut sequence = 0;
            loop {
                sequence += 1;
                assert!(sequence < 100, "a hundred slices, and none was refused");
                match self.store.extend(next(leg, sequence, until_ms)).await.unwrap() {
                    Opened::Granted(grant) => until_ms = grant.until_ms,
                    Opened::Refused(cause) => {
                        told.insert(cause.slug());
                        break;
                    }
                    Opened::NoPayerYet => unreachable!("it has a payer"),
                }
            }
            let record = self.store.settle(leg, over(until_ms)).await.unwrap();
            charged.0 += record.charge.0 + granted_money(&record.beyond.grants).0;
        }
        assert_eq!(told.len(), 1, "{told:?}");
        (charged, told.first().unwrap().parse().unwrap())
    }

    async fn held(&self) -> Micros {
        self.store.live_legs().await.unwrap().iter().map(|leg| leg.credit_held).sum()
    }
}

#[tokio::test]
async fn a_thief_on_all_lines_takes_the_days_limit_and_no_more() {
    let bench = bench("max_spend_per_day = \"0.50\"").await;
    let (charged, cause) = bench.talk_until_cut(|leg| dial(leg, "+447700900123", "studio")).await;
    assert_eq!(cause, Cause::SpendLimit);
    assert!(charged <= micros("0.50") && charged > micros("0.40"), "{charged}");
    assert_eq!(bench.call_until_refused(NOON).await.1, Cause::SpendLimit);
    bench.audited().await;
}

/// [`FILE`] with a second licensed organiser, a second meeting of the first, and a limit of the carrier's.
pub(super) fn crowded(limits: &str, carrier: &str) -> String {
    let more = "[[organisation.user]]\nid = \"dora\"\nlicences = [\"pay-per-minute\"]\n\
         [[organisation.meeting]]\nid = \"loft\"\norganiser = \"dora\"\nconference_id = \"1000004\"\n\
         [[organisation.meeting]]\nid = \"attic\"\norganiser = \"anna\"\nconference_id = \"1000005\"\n";
    let file = limited(limits).replacen("[[organisation]]\nid = \"borealis\"", &format!("{more}[[organisation]]\nid = \"borealis\""), 1);
    file.replacen("id = \"local\"\n", &format!("id = \"local\"\n{carrier}\n"), 1)
}

/// Each limit on a day's spending: what all lines take together stays within it, those that it is not for go on, what
/// was spent before it was set counts, and the next day begins anew.
#[tokio::test]
async fn organiser_meeting_and_carrier_spend_their_own_day_and_no_more() {
    let table = [
        ("organiser_spend_per_day = \"0.50\"", "", Cause::OrganiserSpendLimit, ("attic", "local"), ("loft", "local")),
        ("meeting_spend_per_day = \"0.50\"", "", Cause::MeetingSpendLimit, ("studio", "other"), ("attic", "local")),
        ("", "max_spend_per_day = \"0.50\"", Cause::CarrierSpendLimit, ("loft", "local"), ("studio", "other")),
    ];
    for (limits, carrier, limit, held, free) in table {
        let bench = Bench::empty().await;
        bench.apply(&crowded("", "")).await.unwrap();
        // A morning without the limit.
        let early = bench.leg();
        grant(bench.store.open_leg(dial(early, "+447700900123", "studio")).await.unwrap());
        bench.store.answered(answer(early)).await.unwrap();
        let before = bench.store.settle(early, over(60_000)).await.unwrap().charge;
        assert!(before > Micros::ZERO);
        bench.apply(&crowded(limits, carrier)).await.unwrap();

        let (charged, cause) = bench.talk_until_cut(|leg| dial(leg, "+447700900123", "studio")).await;
        assert_eq!(cause, limit);
        let all = Micros(before.0 + charged.0);
        assert!(all <= micros("0.50") && all > micros("0.40"), "{limit}: {all}");
        let by = |(meeting, carrier): (&str, &str), at: Wall| OpenLeg {
            carrier: Some(carrier.parse().unwrap()),
            invited: at,
            ..dial(bench.leg(), "+447700900123", meeting)
        };
        assert_eq!(bench.store.open_leg(by(held, NOON)).await.unwrap(), Opened::Refused(limit));
        grant(bench.store.open_leg(by(free, NOON)).await.unwrap());
        // What is given back of a charge is room again.
        let (key, reason) = ("back".to_owned(), "a bad line".to_owned());
        let back = Refund { leg: early, amount: None, key, reason, at: NOON };
        assert!(matches!(bench.store.refund(back).await.unwrap(), Corrected::Booked(_)));
        let mut taken = Vec::new();
        loop {
            let one = by(held, NOON);
            match bench.store.open_leg(one.clone()).await.unwrap() {
                Opened::Granted(_) => taken.push(one.leg),
                told => break assert_eq!(told, Opened::Refused(limit)),
            }
        }
        // And so is what a leg holds and does not use.
        bench.store.settle(taken[0], over(0)).await.unwrap();
        grant(bench.store.open_leg(by(held, NOON)).await.unwrap());
        grant(bench.store.open_leg(by(held, NOON.plus_millis(24 * HOUR_MS))).await.unwrap());
        bench.audited().await;
    }
}

#[tokio::test]
async fn a_minute_that_is_too_dear_is_refused_whatever_the_balance() {
    for (most, britain) in [("0.0299", false), ("0.03", true)] {
        let bench = bench(&format!("max_rate_per_minute = \"{most}\"")).await;
        let told = bench.store.open_leg(dial(bench.leg(), "+447700900123", "studio")).await.unwrap();
        assert_eq!(matches!(told, Opened::Granted(_)), britain, "{told:?}");
        assert!(britain || told == Opened::Refused(Cause::RateTooHigh));
        grant(bench.store.open_leg(dial(bench.leg(), "+390655512345", "studio")).await.unwrap());
        bench.audited().await;
    }
}

#[tokio::test]
async fn the_first_day_has_a_limit_that_no_second_file_renews() {
    let text = "max_spend_first_day = \"0.10\"";
    let bench = bench(text).await;
    let (legs, cause) = bench.call_until_refused(NOON).await;
    assert_eq!((cause, bench.held().await <= micros("0.10")), (Cause::FirstDayLimit, true));
    for leg in legs {
        bench.store.answered(answer(leg)).await.unwrap();
        bench.store.settle(leg, over(40_000)).await.unwrap();
    }
    // What is charged counts on, over midnight too.
    let next_morning = NOON.plus_millis(20 * HOUR_MS);
    let (legs, cause) = bench.call_until_refused(next_morning).await;
    assert_eq!(cause, Cause::FirstDayLimit);
    for leg in legs {
        bench.store.settle(leg, over(0)).await.unwrap();
    }
    bench.store.apply(document(&limited(text)).unwrap(), NOON.plus_millis(23 * HOUR_MS)).await.unwrap().unwrap();
    let after = OpenLeg { invited: NOON.plus_millis(24 * HOUR_MS), ..dial(bench.leg(), "+447700900123", "studio") };
    let hold = grant(bench.store.open_leg(after).await.unwrap());
    assert_eq!(hold.until_ms, 60_000);
    bench.audited().await;
}

#[tokio::test]
async fn nights_and_weekends_have_a_share_of_the_day() {
    let bench = bench("max_calls = 10\nmax_spend_per_day = \"0.50\"\nquiet_percent = 20").await;
    let facts = bench.store.facts();
    let aurora = facts.organisations.values().find(|organisation| organisation.id.as_str() == "aurora").unwrap();
    // NOON is a Tuesday's.
    for (hours, calls) in [(0, 10), (11, 10), (12, 2), (17, 2), (18, 10), (83, 10), (84, 2), (137, 2), (138, 10)] {
        let at = NOON.plus_millis(hours * HOUR_MS);
        assert_eq!(aurora.calls(at).max_calls, Some(calls), "{hours} hours after noon");
    }
    let three_at_night = NOON.plus_millis(15 * HOUR_MS);
    let (legs, cause) = bench.call_until_refused(three_at_night).await;
    assert_eq!(cause, Cause::SpendLimit);
    assert!(bench.held().await <= micros("0.10") && legs.len() >= 2);
    // In the morning the whole of it.
    let (legs, _) = bench.call_until_refused(NOON.plus_millis(18 * HOUR_MS)).await;
    assert!(bench.held().await > micros("0.40") && legs.len() >= 5);
    bench.audited().await;
}

#[tokio::test]
async fn meetings_too_many_for_their_ids_are_refused_with_the_length_to_use() {
    let bench = Bench::new().await;
    let file = |count: usize, base: u64| {
        let meeting = |n: usize| {
            let id = base + n as u64;
            format!("[[organisation.meeting]]\nid = \"more-{n}\"\norganiser = \"anna\"\nconference_id = \"{id}\"\n")
        };
        let meetings: String = (0..count).map(meeting).collect();
        format!("[[organisation]]\nid = \"aurora\"\ncountry = \"IT\"\nvolume_licensing = true\n{meetings}")
    };
    // Three are there.
    bench.apply(&file(7, 2_000_000)).await.unwrap();
    let mistakes = bench.apply(&file(8, 2_000_000)).await.unwrap_err();
    assert_eq!(mistakes.len(), 1);
    let told = mistakes[0].to_string();
    assert!(told.contains("11 meetings need conference IDs of 8 digits") && told.contains("they have 7"), "{told}");
    let other = Bench::empty().await;
    let mistakes = other.apply(&file(101, 20_000_000)).await.unwrap_err();
    assert!(mistakes.iter().any(|mistake| mistake.to_string().contains("of 9 digits")), "{mistakes:?}");
}

/// The ways in which one may write a number so that somebody who looks at the text sees another.
fn written(number: &str, mut form: usize) -> String {
    let mut choose = |ways: usize| {
        let way = form % ways;
        form /= ways;
        way
    };
    let before = ["+", "00", "", "011", "tel:+", "0", "000", "+0", "tel:", "＋", "sip:+", "%2B", "*31#", "+00"][choose(14)];
    let between = ["", " ", "-", ".", "(", ")", "/", "  ", "\u{a0}", "\t", ","][choose(11)];
    let digits: String = match choose(5) {
        0 => number.to_owned(),
        1 => number.chars().map(|c| char::from_u32(0xff10 + c.to_digit(10).unwrap()).unwrap()).collect(),
        2 => number.chars().map(|c| char::from_u32(0x660 + c.to_digit(10).unwrap()).unwrap()).collect(),
        3 => number.chars().map(|c| format!("%3{c}")).collect(),
        _ => format!("{}(0){}", &number[..2], &number[2..]),
    };
    let at = [2, 3, 5][choose(3)];
    let (head, tail): (String, String) = (digits.chars().take(at).collect(), digits.chars().skip(at).collect());
    let country = &number[..2];
    let after = [
        String::new(),
        ";isub=1".to_owned(),
        ";ext=9".to_owned(),
        ";postd=p1".to_owned(),
        format!(";phone-context=+{country}"),
        ";phone-context=+44".to_owned(),
        ";phone-context=example.com".to_owned(),
        ";phone-context=+4;phone-context=+44".to_owned(),
        ",,1".to_owned(),
        "p1".to_owned(),
        "w".to_owned(),
        "#".to_owned(),
        "*".to_owned(),
        "@127.0.0.1".to_owned(),
        "0".repeat(40),
        "abc".to_owned(),
        "\0".to_owned(),
        ";PHONE-CONTEXT=+1".to_owned(),
    ][choose(18)]
    .clone();
    // Without its country, which stands behind it.
    if choose(8) == 7 {
        return format!("{}{between};phone-context=+{country}", &number[2..]);
    }
    format!("{before}{head}{between}{tail}{after}")
}

/// Premium and satellite ranges, service numbers, and a country that is not allowed: what is read as a number at all is
/// read as one that the books refuse. All doors read by this plan, and what they read is priced, permitted and dialled.
#[tokio::test]
async fn ten_thousand_ways_to_write_a_barred_number_and_none_gets_out() {
    // Whatever is refused is not refused for the want of a price.
    let rows: String = (2..10).map(|first| format!("dial-out,{first},Far,5,0,60,60,2020-01-01,standard\n")).collect();
    let bench = Bench::empty().await;
    let file = Document::parse("demo.toml", &limited(""), |_| Ok(format!("{RATES}{rows}"))).unwrap();
    bench.store.apply(file, NOON).await.unwrap().unwrap();
    let barred = ["8816123456789", "882161234567", "870773123456", "97912345678", "5355512345", "85012345678"];
    let mut read = BTreeSet::new();
    let mut forms = 0;
    for number in barred {
        // A prime step over all ways of writing: each way of each kind comes up with each of another.
        for form in (0..332_640).step_by(181) {
            forms += 1;
            read.extend(DialPlan::default().read(&written(number, form)));
        }
    }
    assert!(forms >= 10_000, "{forms}");
    let national = |number: &E164| ["44", "39", "1"].iter().any(|open| number.digits().starts_with(open));
    for number in &read {
        let told = bench.store.open_leg(dial(bench.leg(), &number.to_string(), "studio")).await.unwrap();
        // A context may make another number of it, of a country that may be called: then that is what is dialled.
        if national(number) {
            continue;
        }
        let Opened::Refused(cause) = told else { panic!("{number} got out: {told:?}") };
        let causes =
            [Cause::NumberBlocked, Cause::DestinationNotAllowed, Cause::UnknownNumber, Cause::CountryNotServed];
        assert!(causes.contains(&cause), "{number}: {cause}");
    }
    for number in barred {
        assert!(read.contains(&E164::from_digits(number).unwrap()), "{number} was among what was read");
    }
    // The same ways of writing lead out where the number may be called.
    for form in ["+447700900123", "0044 7700-900123", "tel:+44 (0)7700.900123", "7700900123;phone-context=+44"] {
        let number = DialPlan::default().read(form).unwrap();
        grant(bench.store.open_leg(dial(bench.leg(), &number.to_string(), "studio")).await.unwrap());
    }
    bench.audited().await;
}

/// What the watch for fraud saw is read back from the records of the last hour, in its order; what is older is not.
#[tokio::test]
async fn the_last_hour_is_read_back_for_the_watch() {
    use crate::trunk::Sight;
    let bench = bench("").await;
    let old = NOON.plus_millis(0);
    let recent = NOON.plus_millis(2 * HOUR_MS);
    for (at, to) in [(old, "+447700900001"), (recent, "+447700900002"), (recent.plus_millis(60_000), "+390655512345")] {
        let leg = bench.leg();
        bench.store.open_leg(OpenLeg { invited: at, ..dial(leg, to, "studio") }).await.unwrap();
        bench.store.answered(Answered { leg, at, journal: None }).await.unwrap();
        bench.store.settle(leg, End { at: at.plus_millis(40_000), ..over(40_000) }).await.unwrap();
    }
    let leg = bench.leg();
    let call = OpenLeg {
        invited: recent,
        carrier: Some("local".parse().unwrap()),
        ..asked(leg, CallType::DialInTollFree, "+39800123456", None)
    };
    bench.store.open_leg(call).await.unwrap();
    let ended = recent.plus_millis(70_000);
    bench.store.settle(leg, End { at: ended, cause: Cause::TooManyTries, ..over(0) }).await.unwrap();
    let seen = bench.store.recent_sights(recent.plus_millis(120_000)).await.unwrap();
    let told: Vec<(i64, &str)> = seen
        .iter()
        .map(|(at, sight)| {
            let what = match sight {
                Sight::Dialled { to, abroad, .. } if to.digits().starts_with("44") && abroad.is_some() => "abroad",
                Sight::Dialled { abroad: None, .. } => "at home",
                Sight::DialledOver { elapsed_ms: 40_000, .. } => "over",
                Sight::NeverJoined { .. } => "never joined",
                Sight::WrongTry { .. } => "wrong try",
                other => panic!("{other:?}"),
            };
            ((at.micros() - recent.micros()) / 1_000_000, what)
        })
        .collect();
    let expected =
        [(0, "abroad"), (40, "over"), (60, "at home"), (70, "never joined"), (70, "wrong try"), (100, "over")];
    assert_eq!(told, expected);
    bench.audited().await;
}
