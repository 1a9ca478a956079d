//! PINs: kept as a keyed hash whose key is not in the store, so that a stolen store has none of them. A PIN has too few
//! digits for a slow hash to help whoever holds both; the brakes on guessing are the defence against everyone else.

use super::sql::{self, Connection};
use crate::types::UserId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the key.
pub(super) const KEY_LEN: usize = 32;

/// Digits of a PIN.
pub(super) const DIGITS: std::ops::RangeInclusive<usize> = 4..=12;

/// The key of this store's PINs, from a file of its own (0600).
#[derive(Clone)]
pub struct PinKey([u8; KEY_LEN]);

/// Shows nothing.
impl std::fmt::Debug for PinKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PinKey")
    }
}

impl PinKey {
    pub(super) const fn new(bytes: [u8; KEY_LEN]) -> PinKey {
        PinKey(bytes)
    }

    fn mac(&self, user: &str, pin: &str) -> Option<Hmac<Sha256>> {
        #[cfg(test)]
        MADE.with(|made| made.set(made.get() + 1));
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        // The user's name keeps equal PINs of two users apart.
        mac.update(user.as_bytes());
        mac.update(b"\0");
        mac.update(pin.as_bytes());
        Some(mac)
    }

    /// What tells this key from others, and tells nothing else of it.
    pub(super) fn fingerprint(&self) -> String {
        let bytes = self.mac("\0fingerprint", "").map(|mac| mac.finalize().into_bytes());
        bytes.map(|bytes| hex(&bytes[..8])).unwrap_or_default()
    }

    /// What the store keeps of a PIN.
    pub(super) fn hash(&self, user: &UserId, pin: &str) -> String {
        let bytes = self.mac(user.as_str(), pin).map(|mac| mac.finalize().into_bytes());
        bytes.map(|bytes| hex(bytes.as_slice())).unwrap_or_default()
    }

    /// What stands for a text that is not to be kept, and is still to be told from others.
    pub(super) fn alias(&self, text: &str) -> String {
        let bytes = self.mac("\0alias", text).map(|mac| mac.finalize().into_bytes());
        bytes.map(|bytes| format!("keyed:{}", hex(&bytes[..12]))).unwrap_or_default()
    }

    /// Whether `pin` is the one behind `hash`; takes the same time for every wrong one.
    pub(super) fn fits(&self, user: &UserId, pin: &str, hash: &str) -> bool {
        let (Some(mac), Some(kept)) = (self.mac(user.as_str(), pin), unhex(hash)) else { return false };
        mac.verify_slice(&kept).is_ok()
    }

    /// No PIN fits where there is none, and that takes as long as a wrong one: `false`.
    pub(super) fn fits_nobody(&self, pin: &str) -> bool {
        // An empty tag has another length than any hash, so that it fits none.
        self.mac("", pin).is_some_and(|mac| mac.verify_slice(&[]).is_ok())
    }
}

/// The fingerprint of the key by which the books' PINs were hashed; `None` where there is no PIN.
pub(super) async fn kept(conn: &mut Connection) -> Result<Option<String>, sql::Error> {
    let sql = "SELECT fingerprint FROM pin_key WHERE EXISTS (SELECT 1 FROM organiser WHERE pin IS NOT NULL)";
    sql::query(sql).fetch_optional(conn).await?.map(|row| row.try_get(0)).transpose()
}

/// Whether a key is the one of the books' PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is, or there is no PIN: then any key is as good.
    Own,
    Another,
    /// There are PINs of before it was noted of which key they are, and a hash does not tell. It is noted as soon as one of
    /// them was told and fits.
    Unproven,
}

/// Whether a start may use a key. One that was made a moment ago (`is_new`) is certainly not the one of PINs that are there.
pub(super) async fn fit(conn: &mut Connection, key: &PinKey, is_new: bool) -> Result<Fit, sql::Error> {
    match kept(conn).await? {
        Some(kept) => Ok(if kept == key.fingerprint() { Fit::Own } else { Fit::Another }),
        None if !has_any(conn).await? => Ok(Fit::Own),
        None => Ok(if is_new { Fit::Another } else { Fit::Unproven }),
    }
}

/// Takes a key for the books' own, before PINs are set with it; `proves`: a PIN that is there is known to be of it. Unless it
/// is the books' own then, the transaction is to be taken back.
pub(super) async fn claim(conn: &mut Connection, key: &PinKey, proves: bool) -> Result<Fit, sql::Error> {
    // Of two nodes the second waits here for the first, and then sees what that has set.
    let is_first = prove(conn, key).await?;
    conn.run("UPDATE pin_key SET fingerprint = fingerprint WHERE one = 1").await?;
    let own = key.fingerprint();
    match kept(conn).await? {
        Some(_) if is_first && !proves => Ok(Fit::Unproven),
        Some(kept) => Ok(if kept == own { Fit::Own } else { Fit::Another }),
        None => {
            sql::query("UPDATE pin_key SET fingerprint = $1 WHERE one = 1").bind(own).execute(conn).await?;
            Ok(Fit::Own)
        }
    }
}

/// A PIN was told and fits: the books' PINs are of this key, where it was not noted yet. Whether it was not.
pub(super) async fn prove(conn: &mut Connection, key: &PinKey) -> Result<bool, sql::Error> {
    let sql = "INSERT INTO pin_key (one, fingerprint) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
    Ok(sql::query(sql).bind(key.fingerprint()).execute(conn).await? == 1)
}

/// The books have become those of a copy, whose PINs are of this key: by its fingerprint, where that is known.
pub(super) async fn restore(conn: &mut Connection, fingerprint: Option<&str>) -> Result<(), sql::Error> {
    conn.run("DELETE FROM pin_key").await?;
    if let Some(fingerprint) = fingerprint {
        let sql = sql::query("INSERT INTO pin_key (one, fingerprint) VALUES (1, $1)");
        sql.bind(fingerprint.to_owned()).execute(conn).await?;
    }
    Ok(())
}

/// Whether anybody has a PIN.
pub(super) async fn has_any(conn: &mut Connection) -> Result<bool, sql::Error> {
    let one = sql::query("SELECT 1 FROM organiser WHERE pin IS NOT NULL LIMIT 1");
    Ok(one.fetch_optional(conn).await?.is_some())
}

/// Nobody has a PIN any more: of how many it was taken.
pub(super) async fn drop_all(conn: &mut Connection) -> Result<u64, sql::Error> {
    sql::query("UPDATE organiser SET pin = NULL WHERE pin IS NOT NULL").execute(conn).await
}

/// Hashes made by this thread: what a guess costs, in work and not in time.
#[cfg(test)]
pub(super) fn made() -> u64 {
    MADE.with(std::cell::Cell::get)
}

#[cfg(test)]
thread_local! {
    static MADE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

pub(super) fn is_pin(text: &str) -> bool {
    DIGITS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pin_of_the_right_user_fits() {
        let key = PinKey::new([7; KEY_LEN]);
        let (anna, bruno): (UserId, UserId) = ("anna".parse().unwrap(), "bruno".parse().unwrap());
        let hash = key.hash(&anna, "4711");
        assert!(!hash.contains("4711"));
        assert!(key.fits(&anna, "4711", &hash));
        assert!(!key.fits(&anna, "4712", &hash));
        assert!(!key.fits(&bruno, "4711", &hash));
        assert!(!PinKey::new([8; KEY_LEN]).fits(&anna, "4711", &hash));
        assert!(!key.fits(&anna, "4711", "not a hash"));
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_nothing_of_them() {
        let (one, other) = (PinKey::new([7; KEY_LEN]), PinKey::new([8; KEY_LEN]));
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.fingerprint().len(), 16);
        assert!(!one.fingerprint().contains("0707"));
    }

    #[test]
    fn pins_are_four_to_twelve_digits() {
        for good in ["0000", "471147114711"] {
            assert!(is_pin(good));
        }
        for bad in ["", "123", "12a4", "1234567890123", "１２３４"] {
            assert!(!is_pin(bad), "{bad}");
        }
    }
}
