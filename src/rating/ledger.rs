//! The books: double entry, each entry chained to the one before by its hash. The store keeps them; their law is here.

use crate::clock::Wall;
use crate::rating::words;
use crate::types::{Currency, Micros, OrganisationId};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What an organisation may still hold: never below zero, or its overdraft.
    Available,
    /// What is set aside for its running legs.
    Held,
    /// Where its fundings come from; as much below zero as was ever paid in.
    Funding,
    /// Money of grants that nothing has used.
    Grant,
    /// Where gifts of the house come from: as much below zero as was given and used.
    Promo,
    /// What its legs have cost.
    Earnings,
    /// Fundings that expired unused.
    Breakage,
    /// Corrections by hand, and differences with carriers.
    Adjustment,
}

words!(Kind: "expected available, held, funding, grant, promo, earnings, breakage or adjustment" {
    Available "available",
    Held "held",
    Funding "funding",
    Grant "grant",
    Promo "promo",
    Earnings "earnings",
    Breakage "breakage",
    Adjustment "adjustment",
});

/// One account: `acme/available`. Pool minutes are counted by the store beside the books: they are no money.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub organisation: OrganisationId,
    pub kind: Kind,
}

impl Account {
    pub fn new(organisation: &OrganisationId, kind: Kind) -> Account {
        Account { organisation: organisation.clone(), kind }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.kind)
    }
}

impl FromStr for Account {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Account, &'static str> {
        const EXPECTED: &str = "expected an account, like acme/available";
        let (organisation, kind) = text.rsplit_once('/').ok_or(EXPECTED)?;
        Ok(Account { organisation: organisation.parse().map_err(|_| EXPECTED)?, kind: kind.parse()? })
    }
}

/// One entry: `amount` goes out of `debit` and into `credit`. Written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique: (leg, step) or the name of a funding. A repeat changes nothing.
    pub key: String,
    pub debit: Account,
    pub credit: Account,
    /// More than zero.
    pub amount: Micros,
    pub currency: Currency,
    pub at: Wall,
    /// The hold or the leg it belongs to, or why it was made, in words.
    pub memo: String,
}

/// Why an entry may not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    NoKey,
    NotPositive,
    OneAccount,
    TwoOrganisations,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadEntry::NoKey => "an entry without a key",
            BadEntry::NotPositive => "an entry of nothing, or less",
            BadEntry::OneAccount => "an entry from an account to itself",
            BadEntry::TwoOrganisations => "an entry between two organisations",
        })
    }
}

impl std::error::Error for BadEntry {}

impl Entry {
    /// The invariants of one entry.
    pub fn check(&self) -> Result<(), BadEntry> {
        match () {
            () if self.key.is_empty() => Err(BadEntry::NoKey),
            () if self.amount <= Micros::ZERO => Err(BadEntry::NotPositive),
            () if self.debit == self.credit => Err(BadEntry::OneAccount),
            () if self.debit.organisation != self.credit.organisation => Err(BadEntry::TwoOrganisations),
            () => Ok(()),
        }
    }
}

/// The link before the first.
pub const GENESIS: [u8; 32] = [0; 32];

/// The hash of an entry and of all before it: SHA-256 over the previous link and each field, its length before it, so
/// that no two different entries have the same bytes.
pub fn chain(previous: &[u8; 32], entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    let (debit, credit) = (entry.debit.to_string(), entry.credit.to_string());
    for text in [&entry.key, &debit, &credit, entry.currency.as_str(), &entry.memo] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(entry.amount.0.to_be_bytes());
    hash.update(entry.at.micros().to_be_bytes());
    hash.finalize().into()
}

/// What stands in each account after `entries`; `None` where a sum leaves the range. All of them together are zero.
pub fn balances<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<BTreeMap<Account, Micros>> {
    let mut balances: BTreeMap<Account, Micros> = BTreeMap::new();
    for entry in entries {
        let debit = balances.entry(entry.debit.clone()).or_default();
        *debit = debit.checked_sub(entry.amount)?;
        let credit = balances.entry(entry.credit.clone()).or_default();
        *credit = credit.checked_add(entry.amount)?;
    }
    Some(balances)
}

/// The first place where a stored chain breaks, by its number from 0: an entry was changed, left out or put between.
pub fn first_break<'a>(links: impl IntoIterator<Item = (&'a Entry, [u8; 32])>) -> Option<usize> {
    let mut previous = GENESIS;
    links.into_iter().position(|(entry, stored)| {
        previous = chain(&previous, entry);
        previous != stored
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(key: &str, debit: Kind, credit: Kind, amount: i64) -> Entry {
        let acme = "acme".parse().unwrap();
        Entry {
            key: key.to_owned(),
            debit: Account::new(&acme, debit),
            credit: Account::new(&acme, credit),
            amount: Micros(amount),
            currency: Currency::USD,
            at: Wall::from_seconds(1_700_000_000),
            memo: String::new(),
        }
    }

    #[test]
    fn an_entry_moves_something_between_two_accounts_of_one_organisation() {
        let good = entry("opening:acme", Kind::Funding, Kind::Available, 1);
        assert_eq!(good.check(), Ok(()));
        let other = Account::new(&"other".parse().unwrap(), Kind::Available);
        for (bad, why) in [
            (Entry { key: String::new(), ..good.clone() }, BadEntry::NoKey),
            (Entry { amount: Micros(0), ..good.clone() }, BadEntry::NotPositive),
            (Entry { amount: Micros(-1), ..good.clone() }, BadEntry::NotPositive),
            (Entry { credit: good.debit.clone(), ..good.clone() }, BadEntry::OneAccount),
            (Entry { credit: other, ..good.clone() }, BadEntry::TwoOrganisations),
        ] {
            assert_eq!(bad.check(), Err(why));
        }
    }

    #[test]
    fn accounts_read_back() {
        for kind in Kind::ALL {
            let account = Account::new(&"acme".parse().unwrap(), *kind);
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        assert!("acme".parse::<Account>().is_err());
        assert!("acme/gold".parse::<Account>().is_err());
    }

    #[test]
    fn a_call_in_the_books() {
        use Kind::{Available, Earnings, Funding, Held};
        let entries = [
            entry("opening", Funding, Available, 250_000),
            entry("leg:hold:0", Available, Held, 100_000),
            entry("leg:charge", Held, Earnings, 71_700),
            entry("leg:release", Held, Available, 28_300),
        ];
        let balances = balances(&entries).unwrap();
        let of = |kind| balances[&Account::new(&"acme".parse().unwrap(), kind)].0;
        assert_eq!([of(Funding), of(Available), of(Held), of(Earnings)], [-250_000, 178_300, 0, 71_700]);
        let twice = [entry("a", Funding, Available, i64::MAX), entry("b", Funding, Available, i64::MAX)];
        assert_eq!(super::balances(&twice), None);
    }

    #[test]
    fn the_first_link_is_the_same_on_every_machine() {
        // Worked out with Python's hashlib and struct, from the sentence above `chain` alone.
        let hash = chain(&GENESIS, &entry("opening:acme", Kind::Funding, Kind::Available, 25_000_000));
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0ec425f9b6ec6960");
    }

    /// Entries by their numbers, and their chain.
    fn chained(amounts: &[i64]) -> Vec<(Entry, [u8; 32])> {
        let mut previous = GENESIS;
        let link = |(number, amount): (usize, &i64)| {
            let entry = entry(&format!("k{number}"), Kind::Available, Kind::Held, *amount);
            previous = chain(&previous, &entry);
            (entry, previous)
        };
        amounts.iter().enumerate().map(link).collect()
    }

    fn broken(links: &[(Entry, [u8; 32])]) -> Option<usize> {
        first_break(links.iter().map(|(entry, hash)| (entry, *hash)))
    }

    proptest! {
        #[test]
        fn whatever_is_changed_is_found(amounts in proptest::collection::vec(1_i64..1_000_000, 2..20), at in any::<prop::sample::Index>(), what in 0..7) {
            let mut links = chained(&amounts);
            prop_assert_eq!(broken(&links), None);
            let at = at.index(links.len() - 1);
            let entry = &mut links[at].0;
            match what {
                0 => entry.amount.0 += 1,
                1 => entry.memo.push('x'),
                2 => entry.key.push('x'),
                3 => entry.at = entry.at.plus_millis(1),
                4 => std::mem::swap(&mut entry.debit, &mut entry.credit),
                5 => { links.remove(at); }
                _ => links.swap(at, at + 1),
            }
            prop_assert_eq!(broken(&links), Some(at));
        }

        #[test]
        fn what_is_given_back_puts_every_account_back(moves in proptest::collection::vec((0..Kind::ALL.len(), 0..Kind::ALL.len(), 1_i64..1_000_000), 1..20), back in any::<prop::sample::Index>()) {
            let entries: Vec<Entry> = moves.iter().map(|(from, to, amount)| entry("k", Kind::ALL[*from], Kind::ALL[*to], *amount)).collect();
            let begin = back.index(entries.len());
            let reversed = entries[begin..].iter().map(|one| Entry { debit: one.credit.clone(), credit: one.debit.clone(), ..one.clone() });
            let both: Vec<Entry> = entries.iter().cloned().chain(reversed).collect();
            let stands = |entries: &[Entry]| {
                let mut balances = balances(entries).unwrap();
                balances.retain(|_, balance| *balance != Micros::ZERO);
                balances
            };
            prop_assert_eq!(stands(&both), stands(&entries[..begin]));
        }

        #[test]
        fn the_books_sum_to_zero(moves in proptest::collection::vec((0..Kind::ALL.len(), 0..Kind::ALL.len(), 1_i64..1_000_000), 0..40)) {
            let entries: Vec<Entry> = moves.iter().map(|(from, to, amount)| entry("k", Kind::ALL[*from], Kind::ALL[*to], *amount)).collect();
            let total: i64 = balances(&entries).unwrap().values().map(|balance| balance.0).sum();
            prop_assert_eq!(total, 0);
        }
    }
}
