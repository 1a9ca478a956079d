//! The signature of what we post: whoever has the secret can tell that it is from us, when it was sent and that nobody
//! has changed it.
//!
//! `Tollbridge-Signature: v1=HEX`, the HMAC-SHA256 of `TIMESTAMP.ID.BODY`: the bytes of the headers
//! `Tollbridge-Timestamp` (seconds since 1970) and `Tollbridge-Id`, and of the body, with a dot between. A receiver
//! compares in constant time, refuses what is older than some minutes, and drops an id that it has seen.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const ID: &str = "tollbridge-id";
pub const TIMESTAMP: &str = "tollbridge-timestamp";
pub const SIGNATURE: &str = "tollbridge-signature";

/// The value of the signature's header.
pub fn signature(secret: &[u8], timestamp: i64, id: &str, body: &[u8]) -> String {
    let sum = Hmac::<Sha256>::new_from_slice(secret).map(|mut mac| {
        mac.update(format!("{timestamp}.{id}.").as_bytes());
        mac.update(body);
        mac.finalize().into_bytes()
    });
    // HMAC takes keys of any length (RFC 2104 section 2): there is no other arm.
    let bytes = sum.unwrap_or_default();
    std::iter::once("v1=".to_owned()).chain(bytes.iter().map(|byte| format!("{byte:02x}"))).collect()
}

/// The file of a secret is no longer.
pub(super) const LONGEST_SECRET: u64 = 4 << 10;
/// A secret is no shorter: half of what the hash gives.
pub(super) const SHORTEST_SECRET: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `hmac`: `hmac.new(b"0123456789abcdef", b"1700000000.a1.{}", "sha256").hexdigest()`.
    #[test]
    fn the_signature_is_the_one_that_others_work_out() {
        let expected = "v1=9ec5875928786b33e44542ad8c75a738bf5b565304ebb474721cd4f9003e8024";
        assert_eq!(signature(b"0123456789abcdef", 1_700_000_000, "a1", b"{}"), expected);
    }

    #[test]
    fn each_part_is_signed() {
        let whole = signature(b"secret", 1, "id", b"body");
        let others = [
            signature(b"secreu", 1, "id", b"body"),
            signature(b"secret", 2, "id", b"body"),
            signature(b"secret", 1, "ie", b"body"),
            signature(b"secret", 1, "id", b"bodz"),
        ];
        assert!(others.iter().all(|other| *other != whole));
    }
}
