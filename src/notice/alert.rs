//! What people are told about their money, and in which words: one table.

use crate::clock::Wall;
use crate::types::OrganisationId;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Who hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The organisation whose money it is.
    Organisation,
    /// Whoever runs the bridge.
    House,
    Both,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $slug:literal $whom:ident [$($fact:literal)*] $subject:literal $text:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The word in the store, in metrics and for programs.
            pub const fn slug(self) -> &'static str {
                match self { $(Kind::$name => $slug,)* }
            }

            pub const fn whom(self) -> Whom {
                match self { $(Kind::$name => Whom::$whom,)* }
            }

            /// What an alert of this kind says beyond its kind: names of [`Facts`].
            pub const fn facts(self) -> &'static [&'static str] {
                match self { $(Kind::$name => &[$($fact),*],)* }
            }

            const fn subject(self) -> &'static str {
                match self { $(Kind::$name => $subject,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

// In braces: a fact, or the organisation's name.
kinds! {
    RechargeDone "recharge-done" Organisation ["amount" "currency" "available" "key"]
        "{organisation}: {amount} {currency} was paid in"
        "The balance had fallen to where you want it recharged. {amount} {currency} was paid in (key {key}); \
         {available} {currency} is available now.";
    RechargeFailed "recharge-failed" Organisation ["amount" "currency" "available" "reason" "key"]
        "{organisation}: a recharge failed"
        "{amount} {currency} was to be paid in and was not: {reason}. {available} {currency} is available. Calls that \
         credits pay end when it is used up: pay in by hand, or mend the means of payment. (key {key})";
    LowBalance "low-balance" Organisation ["available" "currency" "threshold"]
        "{organisation}: the balance is low"
        "{available} {currency} is available, which is less than {threshold}. Calls that credits pay end when it is \
         used up.";
    LowDays "low-days" Organisation ["available" "currency" "days" "a_day"]
        "{organisation}: the balance lasts less than {days} days"
        "{available} {currency} is available. At the pace of the last seven days, {a_day} {currency} a day, it lasts \
         less than {days} days.";
    Zero "zero-balance" Organisation ["available" "currency"]
        "{organisation}: the balance is used up"
        "{available} {currency} is available: no new call that credits pay is let in, and those that run end with \
         what they hold. Calls that are included, or that the pool pays, go on.";
    PoolLow "pool-80" Organisation ["used_minutes" "granted_minutes"]
        "{organisation}: 80 % of this month's minutes are used"
        "Of the {granted_minutes} minutes of calls out that this month includes, {used_minutes} are used or held.";
    PoolGone "pool-100" Organisation ["granted_minutes"]
        "{organisation}: this month's minutes are used up"
        "All {granted_minutes} minutes of calls out that this month includes are used or held. Calls beyond them are \
         paid by credits, for organisers who may spend them.";
    GrantLow "grant-80" Organisation ["grant" "left" "unit"]
        "{organisation}: 80 % of grant {grant} are used"
        "Of grant {grant}, {left} {unit} are left; the rest is used, or held by running calls.";
    GrantGone "grant-100" Organisation ["grant"]
        "{organisation}: grant {grant} is used up"
        "All of grant {grant} is used, or held by running calls. Calls that it paid are paid by what comes after it: other \
         grants, then credits.";
    SpendUnusual "spend-unusual" Both ["spent" "currency" "usual" "times"]
        "{organisation}: unusual spending today"
        "{spent} {currency} was spent today, more than {times} times the {usual} {currency} of a usual day. If nobody \
         knows why, look at today's usage records.";
    NoRate "no-rate" Both ["number" "call_type"]
        "{organisation}: a call was refused because it has no price"
        "No rate was found for {number} ({call_type}), so the call was refused. If it should be possible, the price \
         list needs a row for it.";
    /// Of a day's limit on spending.
    CapUsed "cap-used" Both ["whose" "percent" "used" "most" "currency"]
        "{organisation}: {percent} % of a day's limit is used"
        "{whose} may use {most} {currency} a day, and {percent} % of that is used, or held by running calls ({used} \
         {currency}). At 100 % calls that cost money are refused until the day is over, and those that run end with what \
         they hold. If nobody knows why so much is called, look at the running calls.";
    FreeCall "free-call" House ["number" "call_type"]
        "A broken row of the price list: a call is free"
        "The row for {number} ({call_type}) cannot be read, so a call of {organisation} was let in free of charge. \
         Mend the row: each further call costs money.";
    AuditDifference "audit-difference" House ["count" "first"]
        "The audit found {count} differences in the books"
        "The audit found {count} differences. The first: {first}. `tollbridge audit` lists all of them.";
    /// One of the patterns that fraud is known by.
    Fraud "fraud" Both ["pattern" "detail"]
        "{organisation}: calls look like fraud ({pattern})"
        "{detail} Nothing was blocked. Look at the running calls, and take licences or limits away where this is not \
         what it should be.";
    /// Somebody is not listened to any more for a while.
    Guessing "guessing" Both ["who" "tries" "minutes"]
        "{organisation}: wrong PINs or conference IDs, again and again"
        "{who}: {tries} wrong PINs or conference IDs within {minutes} minutes. Further ones are not listened to until that \
         time is over. If nobody of yours has forgotten theirs, somebody guesses: choose longer PINs and conference IDs.";
    /// A trunk's password was changed on one side alone, or somebody tries passwords.
    WrongPassword "wrong-password" House ["who" "tries" "then"]
        "Wrong passwords of {who}"
        "{tries} requests in a row had a wrong password or an unknown name: {who}. {then}. If a password was changed, change \
         it on the other side too; `tollbridge carriers` shows how we stand with each.";
    /// A destination is closed to an organisation for a day.
    HotNumber "hot-number" Both ["number" "destination" "until" "leg"]
        "{organisation}: a number known from fraud was called"
        "A call to {number} was refused (leg {leg}): the number is known from fraud, and such a call is often the test \
         before an attack. No calls go to {destination} until {until}, and nothing is recharged. Find out who dialled it \
         and change what they know; then `tollbridge hot-list lift` opens the destination again.";
    CarrierDown "carrier-down" House ["carrier" "route"]
        "Carrier {carrier} does not answer"
        "Carrier {carrier} ({route}) does not answer OPTIONS, or says that it takes no calls. No calls go to it until it \
         answers again; other carriers take them where there are any.";
    CarrierBack "carrier-back" House ["carrier" "route"]
        "Carrier {carrier} answers again"
        "Carrier {carrier} ({route}) answers again, and has calls again.";
    CarrierUnregistered "carrier-unregistered" House ["carrier" "status"]
        "No registration with carrier {carrier}"
        "The registration with carrier {carrier} failed ({status}). Its calls may not reach the bridge. It is tried again by \
         itself; where the password is wrong, mend that.";
    WebhookDisabled "webhook-disabled" Both ["webhook" "failures" "reason"]
        "{organisation}: a webhook is switched off"
        "{webhook} failed {failures} times in a row and is sent nothing more. The last time: {reason}. It is switched \
         on again when the organisation's settings are applied again (the house's: at the next start).";
    /// Somebody wants to see whether alerts arrive.
    Test "test" Organisation []
        "{organisation}: a test"
        "This is a test. Alerts about the balance of {organisation} come this way.";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Kind, &'static str> {
        Kind::ALL.iter().copied().find(|kind| kind.slug() == text).ok_or("no such kind of alert")
    }
}

/// What an alert says beyond its kind, by name; amounts as decimal text.
pub type Facts = BTreeMap<String, String>;

/// The fact that is somebody's telephone number.
pub const NUMBER: &str = "number";

/// No fact is longer: reasons come from others.
const LONGEST_FACT: usize = 300;

/// One thing that happened, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The same for every target and every repeat: whoever has seen it drops it.
    pub id: String,
    pub kind: Kind,
    pub at: Wall,
    /// Whose money; `None` where it is about the bridge itself.
    pub organisation: Option<OrganisationId>,
    /// The organisation as people know it.
    pub name: String,
    pub facts: Facts,
}

impl Alert {
    pub fn subject(&self) -> String {
        // A line: whatever a name or a reason brings along, no second one begins.
        self.filled(self.kind.subject()).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    pub fn text(&self) -> String {
        self.filled(self.kind.text())
    }

    /// A fact that is missing reads as "?": an alert is better sent with a gap than not at all.
    fn filled(&self, words: &str) -> String {
        let mut text = String::with_capacity(words.len() + 64);
        let mut rest = words;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            text.push_str(self.fact(name));
            rest = after;
        }
        text + rest
    }

    fn fact(&self, name: &str) -> &str {
        match name {
            "organisation" if self.name.is_empty() => "the bridge",
            "organisation" => &self.name,
            other => self.facts.get(other).map_or("?", String::as_str),
        }
    }
}

/// Facts from pairs; a text that is too long is cut.
pub fn facts<const N: usize>(pairs: [(&str, String); N]) -> Facts {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), cut(&value, LONGEST_FACT))).collect()
}

/// At most so many characters of a text from elsewhere, and none that steers a terminal.
pub fn cut(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: Kind) -> Alert {
        let said = kind.facts().iter().map(|name| ((*name).to_owned(), format!("<{name}>")));
        let organisation = Some("acme".parse().unwrap());
        let at = Wall::from_seconds(1_700_000_000);
        Alert { id: "1".into(), kind, at, organisation, name: "Acme".into(), facts: said.collect() }
    }

    #[test]
    fn every_kind_reads_well_with_its_own_facts_and_uses_each_of_them() {
        for kind in Kind::ALL {
            assert_eq!(kind.slug().parse::<Kind>(), Ok(*kind));
            let alert = alert(*kind);
            let all = format!("{}\n{}", alert.subject(), alert.text());
            assert!(!all.contains(['{', '}', '?']), "{kind}: {all}");
            for fact in kind.facts() {
                assert!(all.contains(&format!("<{fact}>")), "{kind} never says {fact}");
            }
            assert!(alert.subject().chars().count() <= 78, "{kind}: {}", alert.subject());
            assert!(alert.text().ends_with(['.', ')']), "{kind}");
        }
    }

    #[test]
    fn no_two_kinds_share_a_word() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            assert!(Kind::ALL[i + 1..].iter().all(|other| other.slug() != kind.slug()));
        }
    }

    #[test]
    fn what_others_wrote_begins_no_line_and_has_an_end() {
        let mut alert = alert(Kind::Fraud);
        alert.name = "Acme\r\nBcc: all@example.com".into();
        assert!(!alert.subject().contains(['\r', '\n']));
        let facts = facts([("reason", "x\u{1b}[2J".to_owned() + &"é".repeat(400))]);
        assert_eq!(facts["reason"].chars().count(), 301);
        assert!(facts["reason"].starts_with("x [2Jé") && facts["reason"].ends_with('…'));
    }

    #[test]
    fn a_fact_that_is_missing_does_not_stop_an_alert() {
        let mut alert = alert(Kind::LowBalance);
        alert.facts.clear();
        assert!(alert.text().starts_with("? ? is available"));
        alert.name.clear();
        assert_eq!(alert.subject(), "the bridge: the balance is low");
    }
}
