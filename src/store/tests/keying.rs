//! Books know the key of their PINs, or are told it by a PIN that fits.

use super::*;
use crate::store::{io, pin};

impl Bench {
    /// Another key in place of the one that there is; gives that.
    fn take_key(&self, other: &[u8]) -> Vec<u8> {
        let file = io::key_file_of(&self.url, &options(&self.folder).folder);
        let key = std::fs::read(&file).unwrap();
        std::fs::write(&file, other).unwrap();
        key
    }

    async fn set_pin(&self, user: &str, pin: &str) -> Result<(), StoreError> {
        set_pin(&self.store, user, pin).await
    }
}

/// `null`, or in quotation marks.
async fn set_pin(store: &Store, user: &str, pin: &str) -> Result<(), StoreError> {
    let step = ChangeStep::Patch(format!("{{\"pin\":{pin}}}"));
    let entry = EntryId::User(user.parse().unwrap());
    let changed = store.change(Change { entry, of: Some("aurora".parse().unwrap()), step }, NOON).await?;
    changed.map(drop).map_err(|mistakes| panic!("{mistakes:?}"))
}

/// Books of before keys were noted: another key opens them and may set nothing, and none is taken for theirs until a PIN fits.
#[tokio::test]
async fn a_key_is_believed_when_a_pin_fits_and_not_before() {
    let studio = "studio".parse().unwrap();
    let bench = Bench::new().await;
    bench.tamper("DELETE FROM pin_key").await.unwrap();
    let key = bench.take_key(&[7; pin::KEY_LEN]);
    let bench = bench.reopened().await;
    assert!(!bench.store.facts().check_pin(&studio, "4711"), "it is another");
    for (user, pin) in [("bruno", "\"1234\""), ("anna", "\"4711\""), ("anna", "\"9999\"")] {
        let refused = bench.set_pin(user, pin).await.unwrap_err();
        assert!(refused.to_string().contains("it is not known whether"), "{refused}");
    }
    let copied = backup(&bench.url, &mut Vec::new(), |_| {}).await.unwrap();
    assert_eq!((copied.pin_key, copied.has_pins), (None, true));

    // The right one: as little is known of it, until the organiser has entered their PIN.
    bench.take_key(&key);
    let bench = bench.reopened().await;
    assert!(bench.store.facts().check_pin(&studio, "4711"));
    assert!(bench.set_pin("bruno", "\"1234\"").await.is_err());
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.lead(leg).await.unwrap();
    bench.set_pin("bruno", "\"1234\"").await.unwrap();
    bench.store.settle(leg, over(0)).await.unwrap();
    let own = backup(&bench.url, &mut Vec::new(), |_| {}).await.unwrap().pin_key;
    assert_eq!(own, Some(bench.store.facts().pins().fingerprint()));
    bench.audited().await;

    // Or until one is named as it is, by a file too.
    for (by_file, pin) in [(false, "\"5555\""), (true, "\"6666\"")] {
        bench.tamper("DELETE FROM pin_key").await.unwrap();
        assert!(bench.set_pin("bruno", pin).await.is_err());
        if by_file {
            bench.apply(FILE).await.unwrap();
        } else {
            bench.set_pin("anna", "\"4711\"").await.unwrap();
        }
        bench.set_pin("bruno", pin).await.unwrap();
    }
    bench.take_key(&[7; pin::KEY_LEN]);
    let super::super::Bench { folder, url, store, .. } = bench;
    drop(store);
    let refused = loop {
        match Store::open(&url, options(&folder)).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => break other.unwrap_err(),
        }
    };
    assert!(matches!(refused, OpenError::OtherKey { .. }), "{refused}");
}

/// The way out where nobody knows a PIN: there is none any more, and the key that is there is the books' own.
#[tokio::test]
async fn without_pins_any_key_is_as_good() {
    let bench = Bench::new().await;
    bench.tamper("DELETE FROM pin_key").await.unwrap();
    bench.take_key(&[7; pin::KEY_LEN]);
    let bench = bench.reopened().await;
    assert!(bench.set_pin("anna", "\"1234\"").await.is_err());
    bench.set_pin("anna", "null").await.unwrap();
    bench.set_pin("anna", "\"1234\"").await.unwrap();
    assert!(bench.reopened().await.store.facts().check_pin(&"studio".parse().unwrap(), "1234"));
}
