//! What was changed behind the store's back is found.

use super::*;
use crate::rating::grant::{Source, Unit};
use crate::rating::ledger::{self, Account, Kind};

/// Prices that fall with the month's minutes.
const LIST: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class,month_tiers\n\
    dial-out,44,United Kingdom,0.0300,0.0100,1,1,2020-01-01,standard,\n\
    dial-out,39,Italy,0.0200,0,60,60,2020-01-01,standard,3:0.0100\n";

async fn bring(bench: &Bench, list: &str) {
    let more = "[[organisation]]\nid = \"cirrus\"\ncountry = \"IT\"\non_empty = \"finish\"\noverdraft = \"5\"\n";
    let document = Document::parse("demo.toml", &format!("{FILE}{more}"), |_| Ok(list.to_owned())).unwrap();
    bench.store.apply(document, NOON).await.unwrap().unwrap();
}

/// Books with a settled paid leg, one whose price falls with the month, a settled pool leg, one of each still open, a
/// funding by hand, an overdraft that nobody has used, a leg given back whole, one in part, one of the pool, and one priced
/// again.
async fn lived_in() -> Bench {
    let bench = Bench::empty().await;
    bring(&bench, LIST).await;
    let store = &bench.store;
    let call = async |to: &str, meeting: &str, is_over: bool| {
        let leg = bench.leg();
        grant(store.open_leg(dial(leg, to, meeting)).await.unwrap());
        store.answered(answer(leg)).await.unwrap();
        grant(store.extend(next(leg, 1, 50_000)).await.unwrap());
        if is_over {
            store.settle(leg, over(70_000)).await.unwrap();
        }
        leg
    };
    for (to, meeting) in [("+447700900123", "studio"), ("+390611111111", "studio"), ("+447700900123", "watch")] {
        for is_over in [true, false] {
            call(to, meeting, is_over).await;
        }
    }
    // Two grants that pay calls to London, one of which is given back; and one that is over.
    let of_london = || crate::rating::grant::Filter { prefixes: vec!["4420".into()], ..Default::default() };
    for (id, unit, source, amount) in [
        ("spring", Unit::Seconds, Source::Promo, 100_000),
        ("welcome", Unit::Money, Source::Paid, 500_000),
        ("gone", Unit::Money, Source::Promo, 70_000),
    ] {
        let given = NewGrant { source, filter: of_london(), ..super::granting::gift(id, unit, amount) };
        store.add_grant(given).await.unwrap();
    }
    let gone = EndGrant { id: "gone".parse().unwrap(), organisation: "aurora".parse().unwrap(), at: NOON };
    store.end_grant(gone).await.unwrap();
    for is_over in [true, true, true, false] {
        call("+442079460123", "studio", is_over).await;
    }
    store.add_credits(funds("by-hand", "3")).await.unwrap();
    let back = |leg, amount: Option<&str>| Refund {
        leg,
        amount: amount.map(micros),
        key: format!("back-{leg}"),
        reason: "bad line".to_owned(),
        at: NOON,
    };
    store.refund(back(call("+390611111111", "studio", true).await, None)).await.unwrap();
    store.refund(back(call("+447700900123", "studio", true).await, Some("0.01"))).await.unwrap();
    store.refund(back(call("+447700900123", "watch", true).await, None)).await.unwrap();
    store.refund(back(call("+442079460123", "studio", true).await, None)).await.unwrap();
    store.refund(back(call("+442079460123", "studio", true).await, Some("0.01"))).await.unwrap();
    let dear = call("+447700900123", "studio", true).await;
    bring(&bench, &LIST.replace("0.0300", "0.0200")).await;
    store.rerate(&Which::Leg(dear), Some(("again", "the list was dear")), NOON).await.unwrap();
    bench.audited().await;
    bench
}

/// Each planted change, with the invariant that must tell of it.
const PLANTED: &[(&str, u8)] = &[
    ("UPDATE account SET posted = posted + 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE account SET posted = posted - 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE account SET held = held + 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET held = held - 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET posted = posted + 1, held = held + 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET burn_nanos = 0", 4),
    ("UPDATE account SET burn_nanos = burn_nanos + 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE account SET granted_held = granted_held + 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET granted_held = granted_held - 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET granted_held = 5 WHERE organisation = 'cirrus'", 4),
    ("UPDATE account SET head = '00' WHERE organisation = 'aurora'", 10),
    ("UPDATE account SET entries = entries + 1 WHERE organisation = 'aurora'", 10),
    ("UPDATE account SET entries = entries - 1 WHERE organisation = 'aurora'", 10),
    ("UPDATE account SET overdraft = 0 WHERE organisation = 'cirrus'", 5),
    ("UPDATE funding SET remaining = remaining - 1 WHERE key = 'opening:aurora'", 1),
    ("UPDATE funding SET remaining = remaining + 1 WHERE key = 'opening:aurora'", 1),
    ("UPDATE funding SET remaining = remaining - 1 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET amount = amount + 1 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET amount = amount - 1, remaining = remaining - 1 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET expires = expires + 86400000000 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET expires = 0 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET at = at - 1 WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET organisation = 'borealis' WHERE key = 'by-hand'", 1),
    ("UPDATE funding SET key = 'by-foot' WHERE key = 'by-hand'", 1),
    ("INSERT INTO funding VALUES ('made-up', 'aurora', 5, 0, 0, 0)", 1),
    ("DELETE FROM funding WHERE key = 'by-hand'", 1),
    ("DELETE FROM funding WHERE key = 'opening:aurora'", 1),
    ("UPDATE funding SET remaining = remaining - 5 WHERE key = 'by-hand'; UPDATE funding SET remaining = remaining + 5 WHERE key = 'opening:aurora'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET amount = amount + 1 WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET amount = amount - 1 WHERE key LIKE '%:correction:1'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET funding = 'by-hand' WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET funding = '' WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET funding = 'nowhere' WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET key = key || 'x' WHERE key LIKE '%:correction:1'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET leg = NULL WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET leg = (SELECT MAX(id) FROM leg) WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_changed; UPDATE draw SET expires = 9000000000000000 WHERE key LIKE '%:correction:1'", 1),
    ("INSERT INTO draw (key, funding, amount) VALUES ('made-up', 'by-hand', 5)", 1),
    ("INSERT INTO draw (key, funding, amount) VALUES ('opening:aurora', 'by-hand', 5)", 1),
    ("INSERT INTO draw (key, funding, amount) VALUES ('opening:aurora', '', 5)", 1),
    ("INSERT INTO draw (key, funding, amount) SELECT key, 'by-hand', 5 FROM ledger_entry WHERE key LIKE '%:open'", 1),
    ("DROP TRIGGER draw_is_not_removed; DELETE FROM draw WHERE key LIKE '%:charge'", 1),
    ("DROP TRIGGER draw_is_not_removed; DELETE FROM draw WHERE key LIKE '%:correction:1'", 1),
    ("DROP TRIGGER draw_is_not_removed; DELETE FROM draw", 1),
    ("UPDATE pool SET used_ms = used_ms - 1 WHERE organisation = 'borealis'", 1),
    ("UPDATE pool SET used_ms = used_ms + 1 WHERE organisation = 'borealis'", 1),
    ("UPDATE pool SET held_ms = held_ms - 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE pool SET held_ms = held_ms + 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE pool SET legs = legs - 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE pool SET legs = legs + 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE pool SET month = month + 1 WHERE organisation = 'borealis'", 1),
    ("DELETE FROM pool WHERE organisation = 'borealis'", 1),
    ("UPDATE pool SET organisation = 'aurora', month = month + 1 WHERE organisation = 'borealis'", 1),
    ("UPDATE spend SET charged = charged - 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE spend SET charged = charged + 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE spend SET earlier = 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE spend SET day = '2020-01-01' WHERE organisation = 'aurora'", 1),
    ("DELETE FROM spend WHERE organisation = 'aurora'", 1),
    ("INSERT INTO spend (organisation, day, charged) VALUES ('borealis', '2020-01-01', 5)", 1),
    ("UPDATE spend_of SET held = held + 1 WHERE whose = 'organiser' AND name = 'anna'", 4),
    ("UPDATE spend_of SET held = held - 1 WHERE whose = 'meeting' AND name = 'studio'", 4),
    ("UPDATE spend_of SET held = 0 WHERE whose = 'carrier'", 4),
    ("UPDATE spend_of SET charged = charged + 1 WHERE whose = 'organiser' AND name = 'anna'", 1),
    ("UPDATE spend_of SET charged = charged - 1 WHERE whose = 'meeting' AND name = 'studio'", 1),
    ("UPDATE spend_of SET charged = 0 WHERE whose = 'carrier'", 1),
    ("UPDATE spend_of SET day = '2020-01-01' WHERE whose = 'carrier'", 1),
    ("UPDATE spend_of SET day = '2100-01-01' WHERE whose = 'meeting'", 1),
    ("UPDATE spend_of SET earlier = 1, earlier_day = day WHERE whose = 'organiser'", 1),
    ("UPDATE spend_of SET currency = 'JPY' WHERE whose = 'carrier'", 4),
    ("UPDATE spend_of SET name = 'nobody' WHERE name = 'studio'", 4),
    ("DELETE FROM spend_of WHERE whose = 'carrier'", 4),
    ("DELETE FROM spend_of WHERE whose = 'organiser'", 1),
    ("INSERT INTO spend_of (whose, name, currency, day, charged, held) VALUES ('meeting', 'nowhere', 'USD', '', 0, 5)", 4),
    ("INSERT INTO spend_of (whose, name, currency, day, charged) VALUES ('meeting', 'nowhere', 'USD', '', 5)", 1),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET utc_day = NULL WHERE charge > 0", 1),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET utc_day = '2020-01-01' WHERE charge > 0", 1),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET granted = NULL WHERE granted > 0", 1),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET granted = granted + 1 WHERE granted > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET granted = 1 WHERE granted = 0", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET by_path = 0", 6),
    ("UPDATE month_use SET used_ms = used_ms - 1", 1),
    ("UPDATE month_use SET used_ms = used_ms + 60000", 1),
    ("UPDATE month_use SET destination = 'Atlantis'", 1),
    ("UPDATE month_use SET month = month + 1", 1),
    ("UPDATE month_use SET call_type = 'dial-in-toll'", 1),
    ("DELETE FROM month_use", 1),
    ("INSERT INTO month_use VALUES ('borealis', 0, 'dial-out', 'Atlantis', 5)", 1),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET amount = amount + 1 WHERE sequence = 1", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET memo = 'x' WHERE sequence = 0", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET credit = 'breakage' WHERE key LIKE '%charge'", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET debit = 'adjustment' WHERE key = 'by-hand'", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET at = at + 1 WHERE sequence = 2", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET currency = 'EUR' WHERE sequence = 2", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET key = 'x' WHERE sequence = 2", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET hash = REPLACE(hash, 'a', 'b') WHERE sequence = 2", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET hash = '' WHERE sequence = 0", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET organisation = 'borealis', sequence = 900 WHERE key = 'by-hand'", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET sequence = 900 WHERE key = 'by-hand'", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET memo = 'refund: other' WHERE key LIKE '%:correction:1'", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET amount = amount - 1 WHERE key LIKE '%:correction:1'", 1),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET credit = 'breakage' WHERE key LIKE '%charge'", 1),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE sequence = 1", 10),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key = 'by-hand'", 10),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key LIKE '%:charge'", 3),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key LIKE '%:correction:1'", 1),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE organisation = 'aurora'", 10),
    ("INSERT INTO ledger_entry SELECT organisation, 900, 'made-up', debit, credit, amount, currency, at, memo, hash FROM ledger_entry WHERE key = 'by-hand'", 10),
    ("INSERT INTO ledger_entry SELECT organisation, 900, 'leg:nobody:charge', debit, credit, amount, currency, at, memo, hash FROM ledger_entry WHERE key LIKE '%:charge' ORDER BY key LIMIT 1", 3),
    ("UPDATE leg SET credit_held = credit_held + 1 WHERE state = 'open' AND credit_held > 0", 4),
    ("UPDATE leg SET credit_held = credit_held + 1 WHERE state = 'settled' AND credit_held > 0", 4),
    ("UPDATE leg SET pool_held_ms = pool_held_ms + 1 WHERE state = 'settled' AND pool_held_ms > 0", 4),
    ("UPDATE leg SET pool_held_ms = pool_held_ms - 1 WHERE state = 'open' AND pool_held_ms > 0", 4),
    ("UPDATE leg SET held_until_ms = held_until_ms + 60000 WHERE state = 'open'", 4),
    ("UPDATE leg SET sequence = sequence + 1 WHERE state = 'open'", 4),
    ("UPDATE leg SET burn_nanos = burn_nanos + 1 WHERE state = 'open' AND credit_held > 0", 4),
    ("UPDATE leg SET state = 'open' WHERE state = 'settled' AND credit_held > 0", 3),
    ("UPDATE leg SET state = 'settled' WHERE state = 'open' AND credit_held > 0", 3),
    ("UPDATE leg SET elapsed_ms = elapsed_ms + 5000 WHERE state = 'settled' AND credit_held > 0", 6),
    ("UPDATE leg SET terms = REPLACE(terms, '0.0300', '0.0400') WHERE state = 'settled'", 6),
    ("UPDATE leg SET terms = NULL WHERE state = 'open' AND credit_held > 0", 4),
    ("UPDATE leg SET terms = NULL WHERE state = 'settled' AND credit_held > 0", 6),
    ("UPDATE leg SET organisation = 'borealis' WHERE state = 'settled' AND organisation = 'aurora'", 6),
    ("UPDATE leg SET organisation = 'aurora' WHERE state = 'open' AND organisation = 'borealis'", 4),
    ("UPDATE leg SET pool_month = pool_month + 1 WHERE state = 'settled' AND pool_held_ms > 0", 1),
    ("UPDATE leg SET number = '+447700900999' WHERE state = 'settled'", 6),
    ("UPDATE person SET organiser = NULL", 6),
    ("UPDATE person SET organiser = 'nobody' WHERE leg = (SELECT MIN(leg) FROM person)", 6),
    ("DELETE FROM person WHERE leg = (SELECT MIN(leg) FROM person)", 6),
    ("UPDATE leg SET organiser = NULL WHERE state = 'settled'", 6),
    ("UPDATE leg SET meeting = NULL WHERE state = 'settled'", 6),
    ("UPDATE leg SET carrier = NULL WHERE state = 'settled'", 6),
    ("UPDATE leg SET call_type = 'dial-in-toll' WHERE state = 'settled'", 6),
    ("UPDATE leg SET answered = NULL WHERE state = 'settled' AND credit_held > 0", 6),
    ("UPDATE leg SET answered = answered + 1000 WHERE state = 'settled'", 6),
    ("UPDATE leg SET invited = invited - 1 WHERE state = 'settled'", 6),
    ("UPDATE leg SET call_id = 'x' WHERE state = 'settled'", 6),
    ("UPDATE hold SET credit = credit + 1 WHERE credit > 0", 4),
    ("UPDATE hold SET pool_ms = pool_ms - 1 WHERE pool_ms > 0", 4),
    ("UPDATE hold SET until_ms = until_ms + 1", 4),
    ("UPDATE hold SET outcome = 'refused' WHERE step = 'extend:1'", 4),
    ("DELETE FROM hold WHERE step = 'extend:1'", 4),
    ("DELETE FROM hold WHERE step = 'open'", 4),
    ("INSERT INTO hold SELECT leg, 'extend:7', request, outcome, cause, funding, credit, pool_ms, until_ms, is_final, funded_ms, parts FROM hold WHERE step = 'open'", 4),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET charge = charge - 1 WHERE charge > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET charge = charge - 1 WHERE charge > 0", 3),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET record = REPLACE(record, '70000', '60000')", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET record = REPLACE(record, 'aurora', 'borealis')", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET record = '{}' WHERE charge > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET elapsed_ms = elapsed_ms + 1", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET credit_held = credit_held + 1", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET pool_held_ms = pool_held_ms + 1 WHERE pool_held_ms > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET pool_used_ms = pool_used_ms - 1 WHERE pool_used_ms > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET at = at + 1", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET organisation = 'borealis' WHERE charge > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET organisation = NULL", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET day = NULL WHERE charge > 0", 1),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET day = '2020-01-01' WHERE charge > 0", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET amount = amount + 1", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET amount = amount - 1", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET pool_ms = 0 WHERE pool_ms < 0", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET pool_ms = pool_ms - 1 WHERE pool_ms < 0", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET month_ms = 0 WHERE month_ms < 0", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET month_ms = month_ms - 1 WHERE month_ms < 0", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET price = price + 1 WHERE price > 0", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET terms = REPLACE(terms, '0.0200', '0.0100') WHERE price > 0", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET reason = 'other'", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET number = 7", 3),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET day = NULL", 1),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET organisation = 'borealis' WHERE organisation = 'aurora'", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET request = 'refund'", 6),
    ("DROP TRIGGER correction_is_not_changed; UPDATE correction SET kind = 'refund', price = NULL, terms = NULL WHERE kind = 're-rate'", 1),
    ("DROP TRIGGER correction_is_not_removed; DELETE FROM correction WHERE organisation = 'aurora'", 3),
    ("DROP TRIGGER correction_is_not_removed; DELETE FROM correction WHERE organisation = 'borealis'", 1),
    ("INSERT INTO correction SELECT 'made-up' || leg, leg, number + 1, organisation, kind, request, -1, 0, 0, day, at, reason, price, terms, by_path FROM correction WHERE kind = 'refund'", 1),
    ("UPDATE grants SET used = used - 1 WHERE id = 'welcome'", 1),
    ("UPDATE grants SET used = used + 1 WHERE id = 'welcome'", 1),
    ("UPDATE grants SET used = used - 1 WHERE id = 'spring'", 1),
    ("UPDATE grants SET held = held + 1 WHERE id = 'welcome'", 4),
    ("UPDATE grants SET held = held - 1 WHERE id = 'welcome'", 4),
    ("UPDATE grants SET burn_nanos = burn_nanos + 1 WHERE id = 'spring'", 4),
    ("UPDATE grants SET burn_nanos = 0 WHERE id = 'welcome'", 4),
    ("UPDATE grants SET lapsed = lapsed - 1 WHERE id = 'gone'", 1),
    ("UPDATE grants SET lapsed = lapsed + 1 WHERE id = 'welcome'", 1),
    ("UPDATE grants SET amount = amount + 1 WHERE id = 'welcome'", 1),
    ("UPDATE grants SET source = 'promo' WHERE id = 'welcome'", 1),
    ("UPDATE grants SET unit = 'seconds' WHERE id = 'welcome'", 1),
    ("UPDATE grants SET unit = 'money' WHERE id = 'spring'", 1),
    ("UPDATE grants SET organisation = 'borealis' WHERE id = 'gone'", 1),
    ("UPDATE grants SET created = created - 1 WHERE id = 'gone'", 1),
    ("UPDATE grants SET filter = 'x' WHERE id = 'gone'", 1),
    ("INSERT INTO grants SELECT 'made-up', organisation, unit, source, amount, 0, 0, 0, priority, valid_from, valid_until, filter, created, memo, 0 FROM grants WHERE id = 'gone'", 1),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET amount = amount + 1 WHERE kind = 'use'", 6),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET amount = amount - 1 WHERE kind = 'correction'", 6),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET amount = amount - 1 WHERE kind = 'lapse'", 1),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET grant_id = 'gone' WHERE kind = 'use'", 1),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET leg = (SELECT MAX(id) FROM leg) WHERE kind = 'use'", 1),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET key = key || 'x' WHERE kind = 'use'", 6),
    ("DROP TRIGGER grant_use_is_not_changed; UPDATE grant_use SET key = key || 'x' WHERE kind = 'lapse'", 1),
    ("DROP TRIGGER grant_use_is_not_removed; DELETE FROM grant_use WHERE kind = 'use'", 6),
    ("DROP TRIGGER grant_use_is_not_removed; DELETE FROM grant_use WHERE kind = 'correction'", 6),
    ("DROP TRIGGER grant_use_is_not_removed; DELETE FROM grant_use WHERE kind = 'lapse'", 1),
    ("INSERT INTO grant_use SELECT key || 'x', grant_id, kind, leg, amount, at, reopened FROM grant_use WHERE kind = 'use'", 6),
    ("UPDATE leg SET parts = NULL WHERE state = 'open'", 4),
    ("UPDATE leg SET parts = NULL WHERE state = 'settled'", 6),
    ("UPDATE leg SET parts = REPLACE(parts, 'money:welcome', 'money:gone') WHERE state = 'open'", 4),
    ("UPDATE leg SET parts = REPLACE(parts, 'seconds:spring', 'seconds:gone') WHERE state = 'settled'", 6),
    ("UPDATE leg SET parts = 'x' WHERE parts IS NOT NULL", 6),
    ("UPDATE hold SET parts = NULL", 4),
    ("UPDATE hold SET parts = 'x' WHERE parts IS NOT NULL", 4),
    ("UPDATE hold SET parts = REPLACE(parts, 'money:welcome', 'money:gone')", 4),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET record = REPLACE(record, 'seconds:spring', 'seconds:summer')", 6),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key = 'grant:welcome'", 1),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key LIKE 'leg:%:grant:welcome'", 1),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key LIKE 'lapse:%'", 1),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET credit = 'breakage' WHERE key LIKE 'lapse:%'", 1),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET credit = 'breakage' WHERE key LIKE 'leg:%:grant:welcome'", 1),
    ("DROP TRIGGER ledger_entry_is_not_changed", 9),
    ("DROP TRIGGER grant_use_is_not_changed", 9),
    ("DROP TRIGGER grant_use_is_not_removed", 9),
    ("DROP TRIGGER ledger_entry_is_not_removed", 9),
    ("DROP TRIGGER usage_record_is_not_changed", 9),
    ("DROP TRIGGER usage_record_is_not_removed", 9),
    ("DROP TRIGGER draw_is_not_changed", 9),
    ("DROP TRIGGER draw_is_not_removed", 9),
    ("DROP TRIGGER correction_is_not_changed", 9),
    ("DROP TRIGGER correction_is_not_removed", 9),
    ("DROP TRIGGER trail_is_not_changed", 9),
    ("DROP TRIGGER trail_is_not_removed", 9),
    ("DROP TRIGGER trail_is_not_changed; UPDATE trail SET who = 'x' WHERE sequence = 0", 10),
    ("DROP TRIGGER trail_is_not_changed; UPDATE trail SET detail = '{}' WHERE verb = 'refund'", 10),
    ("DROP TRIGGER trail_is_not_changed; UPDATE trail SET sequence = 9000 WHERE sequence = (SELECT MAX(sequence) FROM trail)", 10),
    ("DROP TRIGGER trail_is_not_removed; DELETE FROM trail WHERE sequence = 0", 10),
];

/// In one set of books, each change taken back before the next.
#[tokio::test]
async fn every_planted_change_is_found() {
    let bench = lived_in().await;
    let mut missed = Vec::new();
    for (sql, invariant) in PLANTED {
        let found = match bench.planted(sql).await {
            Ok(found) => found,
            Err(why) => {
                missed.push(format!("{sql}: {why}"));
                continue;
            }
        };
        if !found.iter().any(|difference| difference.invariant == *invariant) {
            missed.push(format!("{sql}: {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), PLANTED.len(), missed.join("\n"));
    assert!(PLANTED.len() >= 100);
    bench.audited().await;
}

#[tokio::test]
async fn entries_and_records_cannot_be_changed_and_balances_cannot_be_overdrawn() {
    let bench = lived_in().await;
    for sql in [
        "UPDATE ledger_entry SET amount = 1",
        "DELETE FROM ledger_entry",
        "UPDATE usage_record SET charge = 0",
        "DELETE FROM usage_record",
        "UPDATE trail SET who = 'x'",
        "DELETE FROM trail",
        "UPDATE account SET posted = held - 1 WHERE organisation = 'aurora'",
        "UPDATE account SET held = -1",
        "UPDATE pool SET held_ms = granted_ms + 1",
        "UPDATE grants SET held = amount + 1",
        "UPDATE grants SET used = amount, lapsed = 1",
        "UPDATE grant_use SET amount = 1",
        "DELETE FROM grant_use",
        "INSERT INTO leg (id, state, node, life, call_type, number, call_id, journal, invited) \
         SELECT id, 'open', '', 0, '', '', '', '', 0 FROM leg",
    ] {
        let refused = bench.tamper(sql).await;
        assert!(matches!(refused, Err(StoreError::Broken(_))), "{sql}: {refused:?}");
    }
    bench.audited().await;
}

#[tokio::test]
async fn the_ledger_is_read_in_its_order() {
    let bench = lived_in().await;
    let aurora = "aurora".parse().unwrap();
    let all = bench.store.ledger(&aurora, 1_000).await.unwrap();
    let balances = ledger::balances(&all).unwrap();
    let balance = bench.store.balance(&aurora).await.unwrap();
    assert_eq!(balances[&Account::new(&aurora, Kind::Available)], balance.available);
    assert_eq!(balances[&Account::new(&aurora, Kind::Held)], balance.held);
    assert_eq!(all[0].key, "opening:aurora");
    assert_eq!(bench.store.ledger(&aurora, 2).await.unwrap(), all[all.len() - 2..], "the latest, in order");
    assert!(bench.store.ledger(&"nobody".parse().unwrap(), 1).await.is_err());
}

#[tokio::test]
async fn who_changed_what_stands_in_the_trail_and_secrets_do_not() {
    let bench = Bench::new().await;
    let store = bench.store.by(Who { name: "paola".to_owned(), door: TrailDoor::Cli, role: None, organisation: None });
    store.add_credits(funds("more", "3")).await.unwrap();
    store.add_credits(funds("more", "3")).await.unwrap();
    store.add_credits(funds("less", "-1000")).await.unwrap();
    assert!(bench.apply(&FILE.replace("organiser = \"anna\"", "organiser = \"nobody\"")).await.is_err());
    let all = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let told: Vec<(&str, &str, &str)> = all.iter().map(|row| (&*row.who, &*row.door, &*row.verb)).collect();
    // A repeat has changed nothing; a file that was not applied neither, but it was tried.
    assert_eq!(
        told,
        [
            ("bridge", "bridge", "apply"),
            // To each organisation what is its own.
            ("bridge", "bridge", "apply"),
            ("bridge", "bridge", "apply"),
            ("paola", "cli", "credits-add"),
            ("paola", "cli", "credits-adjust"),
            ("bridge", "bridge", "apply"),
        ]
    );
    assert!(all[0].detail.contains("\"anna\"") && !all[0].detail.contains("4711"), "{}", all[0].detail);
    assert!(all[1..3].iter().all(|row| row.organisation.is_some() && !row.detail.contains("4711")), "{all:?}");
    assert!(all[4].detail.contains("not-available"), "{}", all[4].detail);
    assert!(all[5].detail.contains("refused") && !all[5].detail.contains("4711"), "{}", all[5].detail);
    let of = TrailFilter { organisation: Some("aurora".parse().unwrap()), limit: Some(1), ..TrailFilter::default() };
    assert_eq!(bench.store.trail(&of).await.unwrap(), all[4..5]);
    bench.audited().await;
}
