//! Session keys from a master key, and what they do to one packet.
//!
//! The block cipher, the hash and GCM are RustCrypto's; what they are fed with, and in which order, is here. (Against
//! rtc-srtp 0.21 this saves a copy and an allocation a packet; benches/srtp has the figures.)

use super::{ENCRYPTED, Keying, RTCP_CLEAR, Suite, WORD};
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
use aes::{Aes128, Aes128Enc};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::{Zeroize, Zeroizing};

const BLOCK: usize = 16;
/// Blocks of key stream made at once: what the processor can work on side by side.
const LANES: usize = 16;
const KEY: usize = 16;
/// The salt of counter mode is two octets longer than that of GCM (RFC 3711 section 8.2, RFC 7714 section 12).
const SALT: usize = 14;
const GCM_SALT: usize = 12;
const AUTH_KEY: usize = 20;
/// GCM's tag. Shorter ones are not offered (RFC 7714 section 13.1).
const GCM_TAG: usize = 16;

/// The labels of key derivation (RFC 3711 section 4.3.1): key, authentication key, salt.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Rtp = 0,
    Rtcp = 3,
}

/// The keys of one direction for RTP or RTCP. The expanded keys wipe themselves, as the crates' feature `zeroize` says.
pub(super) enum Cipher {
    Counter { key: Aes128Enc, salt: [u8; SALT], hash: Box<Hmac<Sha1>> },
    Gcm { key: Box<Aes128Gcm>, salt: [u8; GCM_SALT] },
}

impl Drop for Cipher {
    fn drop(&mut self) {
        match self {
            Cipher::Counter { salt, .. } => salt.zeroize(),
            Cipher::Gcm { salt, .. } => salt.zeroize(),
        }
    }
}

impl Cipher {
    pub fn new(keying: &Keying, purpose: Purpose) -> Cipher {
        let label = purpose as u8;
        let key = derive::<KEY>(keying, label);
        let salt = derive::<SALT>(keying, label + 2);
        if keying.suite == Suite::Aes128Gcm {
            // GCM takes the first 96 bits of the same stream (RFC 7714 section 11).
            let mut short = [0; GCM_SALT];
            short.copy_from_slice(&salt[..GCM_SALT]);
            return Cipher::gcm(&key, short);
        }
        Cipher::counter(&key, *salt, &derive::<AUTH_KEY>(keying, label + 1))
    }

    pub fn counter(key: &[u8; KEY], salt: [u8; SALT], auth: &[u8; AUTH_KEY]) -> Cipher {
        let hash = <Hmac<Sha1> as KeyInit>::new_from_slice(auth).expect("HMAC takes keys of any length");
        Cipher::Counter { key: Aes128Enc::new(&Array(*key)), salt, hash: Box::new(hash) }
    }

    pub fn gcm(key: &[u8; KEY], salt: [u8; GCM_SALT]) -> Cipher {
        Cipher::Gcm { key: Box::new(Aes128Gcm::new(&Array(*key))), salt }
    }

    /// `packet` is header, payload and room for the tag.
    pub fn seal(&self, packet: &mut [u8], header: usize, tag: usize, ssrc: u32, index: u64) {
        let (packet, tag) = packet.split_at_mut(packet.len() - tag);
        match self {
            Cipher::Counter { key, salt, hash } => {
                apply_stream(key, counter_start(salt, ssrc, index), &mut packet[header..]);
                let code = hash_of(hash, packet, &rollover(index)).finalize().into_bytes();
                tag.copy_from_slice(&code[..tag.len()]);
            }
            Cipher::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header);
                seal_gcm(key, gcm_nonce(salt, ssrc, index), header, payload, tag);
            }
        }
    }

    /// Checks the tag, then opens; false if the tag is wrong, and then the packet is as it was.
    pub fn open(&self, packet: &mut [u8], header: usize, tag: usize, ssrc: u32, index: u64) -> bool {
        let (packet, tag) = packet.split_at_mut(packet.len() - tag);
        match self {
            Cipher::Counter { key, salt, hash } => {
                // Compares in constant time.
                let right = hash_of(hash, packet, &rollover(index)).verify_truncated_left(tag).is_ok();
                if right {
                    apply_stream(key, counter_start(salt, ssrc, index), &mut packet[header..]);
                }
                right
            }
            Cipher::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header);
                open_gcm(key, gcm_nonce(salt, ssrc, index), header, payload, tag)
            }
        }
    }

    /// The E flag and the index of a packet that is long enough. Counter mode has the tag behind it (RFC 3711 section
    /// 3.4), GCM before it (RFC 7714 section 9.2).
    pub fn rtcp_word(&self, packet: &[u8], tag: usize) -> u32 {
        let end = match self {
            Cipher::Counter { .. } => packet.len() - tag,
            Cipher::Gcm { .. } => packet.len(),
        };
        packet[..end].last_chunk().map_or(0, |word| u32::from_be_bytes(*word))
    }

    /// `packet` is `length` octets of RTCP and room for tag and word.
    pub fn seal_rtcp(&self, packet: &mut [u8], length: usize, tag: usize, ssrc: u32, word: u32) {
        let index = u64::from(word & !ENCRYPTED);
        match self {
            Cipher::Counter { key, salt, hash } => {
                apply_stream(key, counter_start(salt, ssrc, index), &mut packet[RTCP_CLEAR..length]);
                packet[length..length + WORD].copy_from_slice(&word.to_be_bytes());
                let code = hash_of(hash, &packet[..length + WORD], &[]).finalize().into_bytes();
                packet[length + WORD..].copy_from_slice(&code[..tag]);
            }
            Cipher::Gcm { key, salt } => {
                let (clear, rest) = packet.split_at_mut(RTCP_CLEAR);
                let (body, rest) = rest.split_at_mut(length - RTCP_CLEAR);
                let (tag, end) = rest.split_at_mut(tag);
                let aad = rtcp_aad(clear, word);
                seal_gcm(key, gcm_nonce(salt, ssrc, index), &aad, body, tag);
                end.copy_from_slice(&word.to_be_bytes());
            }
        }
    }

    /// As a peer sends it that signs its reports and keeps no secret of them.
    #[cfg(test)]
    pub fn sign_rtcp(&self, packet: &mut [u8], length: usize, tag: usize, ssrc: u32, index: u32) {
        let word = index.to_be_bytes();
        let signed = [&packet[..length], &word].concat();
        match self {
            Cipher::Counter { hash, .. } => {
                packet[length..length + WORD].copy_from_slice(&word);
                let code = hash_of(hash, &signed, &[]).finalize().into_bytes();
                packet[length + WORD..].copy_from_slice(&code[..tag]);
            }
            Cipher::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                seal_gcm(key, nonce, &signed, &mut [], &mut packet[length..length + GCM_TAG]);
                packet[length + GCM_TAG..].copy_from_slice(&word);
            }
        }
    }

    pub fn open_rtcp(&self, packet: &mut [u8], length: usize, tag: usize, ssrc: u32, word: u32) -> bool {
        let index = u64::from(word & !ENCRYPTED);
        match self {
            Cipher::Counter { key, salt, hash } => {
                let (signed, tag) = packet.split_at_mut(packet.len() - tag);
                let right = hash_of(hash, signed, &[]).verify_truncated_left(tag).is_ok();
                if right && word & ENCRYPTED != 0 {
                    apply_stream(key, counter_start(salt, ssrc, index), &mut signed[RTCP_CLEAR..length]);
                }
                right
            }
            Cipher::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, index);
                if word & ENCRYPTED == 0 {
                    return check_gcm(key, nonce, packet, length, word);
                }
                let (clear, rest) = packet.split_at_mut(RTCP_CLEAR);
                let (body, rest) = rest.split_at_mut(length - RTCP_CLEAR);
                let aad = rtcp_aad(clear, word);
                open_gcm(key, nonce, &aad, body, &rest[..tag])
            }
        }
    }
}

/// The first octets of a key stream (RFC 3711 section 4.3.3) at `label`; the key derivation rate is zero, as SDES has
/// it unless told otherwise, so the label is all there is.
fn derive<const N: usize>(keying: &Keying, label: u8) -> Zeroizing<[u8; N]> {
    let mut start = [0; BLOCK];
    start[..SALT].copy_from_slice(keying.master_salt());
    start[7] ^= label;
    let mut out = Zeroizing::new([0; N]);
    apply_stream(&Aes128Enc::new(&Array(*keying.master_key())), start, &mut *out);
    out
}

/// RFC 3711 section 4.1.1: salt at the front, SSRC and index below, 16 bits to count blocks.
fn counter_start(salt: &[u8; SALT], ssrc: u32, index: u64) -> [u8; BLOCK] {
    let mut start = [0; BLOCK];
    start[..SALT].copy_from_slice(salt);
    xor(&mut start[4..8], &ssrc.to_be_bytes());
    xor(&mut start[8..14], &index.to_be_bytes()[2..]);
    start
}

/// RFC 7714 section 8.1 for RTP (rollover counter and number are the 48 bits of the index), 9.1 for RTCP (two octets of
/// zero and 31 bits: the same).
fn gcm_nonce(salt: &[u8; GCM_SALT], ssrc: u32, index: u64) -> [u8; GCM_SALT] {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    nonce
}

fn xor(octets: &mut [u8], with: &[u8]) {
    octets.iter_mut().zip(with).for_each(|(octet, with)| *octet ^= with);
}

/// Counter mode (RFC 3711 section 4.1.1). 16 bits of count are a megabyte: no datagram comes near.
fn apply_stream(key: &Aes128Enc, start: [u8; BLOCK], octets: &mut [u8]) {
    let mut next = u128::from_be_bytes(start);
    for chunk in octets.chunks_mut(LANES * BLOCK) {
        let mut blocks: [Array<u8, U16>; LANES] = [Array([0; BLOCK]); LANES];
        let blocks = &mut blocks[..chunk.len().div_ceil(BLOCK)];
        for block in blocks.iter_mut() {
            block.0 = next.to_be_bytes();
            next += 1;
        }
        key.encrypt_blocks(blocks);
        let mut whole = chunk.chunks_exact_mut(BLOCK);
        let mut blocks = blocks.iter();
        for (octets, block) in whole.by_ref().zip(blocks.by_ref()) {
            let mixed = u128::from_ne_bytes(block.0) ^ octets.first_chunk().map_or(0, |o| u128::from_ne_bytes(*o));
            octets.copy_from_slice(&mixed.to_ne_bytes());
        }
        let rest = whole.into_remainder();
        blocks.next().into_iter().for_each(|block| xor(rest, block));
    }
}

/// What is hashed behind an RTP packet, though not sent (RFC 3711 section 4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn hash_of(hash: &Hmac<Sha1>, packet: &[u8], behind: &[u8]) -> Hmac<Sha1> {
    let mut hash = hash.clone();
    hash.update(packet);
    hash.update(behind);
    hash
}

type Gcm = aes_gcm::AesGcm<Aes128, aes::cipher::consts::U12>;

fn seal_gcm(key: &Gcm, nonce: [u8; GCM_SALT], aad: &[u8], octets: &mut [u8], tag: &mut [u8]) {
    let code = key.encrypt_inout_detached(&Array(nonce), aad, octets.into()).expect("a datagram is short enough");
    tag.copy_from_slice(&code);
}

fn open_gcm(key: &Gcm, nonce: [u8; GCM_SALT], aad: &[u8], octets: &mut [u8], tag: &[u8]) -> bool {
    let Some(tag) = tag.first_chunk::<GCM_TAG>() else { return false };
    key.decrypt_inout_detached(&Array(nonce), aad, octets.into(), &Array(*tag)).is_ok()
}

/// RFC 7714 section 9.2: what stays readable, and the word at the end.
fn rtcp_aad(clear: &[u8], word: u32) -> [u8; RTCP_CLEAR + WORD] {
    let mut aad = [0; RTCP_CLEAR + WORD];
    aad[..RTCP_CLEAR].copy_from_slice(&clear[..RTCP_CLEAR]);
    aad[RTCP_CLEAR..].copy_from_slice(&word.to_be_bytes());
    aad
}

/// RFC 7714 section 9.3: all is readable, and all is checked, the word too. It is laid behind the report for that.
fn check_gcm(key: &Gcm, nonce: [u8; GCM_SALT], packet: &mut [u8], length: usize, word: u32) -> bool {
    let mut tag = [0; GCM_TAG];
    tag.copy_from_slice(&packet[length..length + GCM_TAG]);
    packet[length..length + WORD].copy_from_slice(&word.to_be_bytes());
    open_gcm(key, nonce, &packet[..length + WORD], &mut [], &tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::srtp::tests::hex;

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex(text).try_into().unwrap()
    }

    /// RFC 3711 appendix B.2: the first blocks, and those around the end of 16 bits of count.
    #[test]
    fn counter_mode_is_that_of_the_rfc() {
        let key = Aes128Enc::new(&Array(array("2B7E151628AED2A6ABF7158809CF4F3C")));
        let start = counter_start(&array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"), 0, 0);
        let mut stream = vec![0; 0xff02 * BLOCK];
        apply_stream(&key, start, &mut stream);
        let table = [
            (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ];
        for (block, expected) in table {
            assert_eq!(stream[block * BLOCK..][..BLOCK], hex(expected), "{block:#x}");
        }
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_in_the_rfc() {
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let keying = Keying::new(Suite::Aes128CmSha1Tag80, &master).unwrap();
        assert_eq!(*derive::<KEY>(&keying, 0), array("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(*derive::<SALT>(&keying, 2), array("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(*derive::<AUTH_KEY>(&keying, 1), array("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 7714 sections 16.1.1, 16.1.2.
    #[test]
    fn gcm_of_rtp_is_that_of_the_rfc() {
        let cipher = Cipher::gcm(&array("000102030405060708090a0b0c0d0e0f"), array("517569642070726f2071756f"));
        let plain = hex(
            "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
        );
        let secret = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        let mut packet = [plain.clone(), vec![0; GCM_TAG]].concat();
        cipher.seal(&mut packet, 12, GCM_TAG, 0x5501_a0b2, 0xf17b);
        assert_eq!(packet, secret);
        assert!(cipher.open(&mut packet, 12, GCM_TAG, 0x5501_a0b2, 0xf17b));
        assert_eq!(packet[..plain.len()], plain);
    }

    /// RFC 7714 sections 17.1, 17.2 (secret), and 17.3 (checked alone).
    #[test]
    fn gcm_of_rtcp_is_that_of_the_rfc() {
        let cipher = Cipher::gcm(&array("000102030405060708090a0b0c0d0e0f"), array("517569642070726f2071756f"));
        let plain = hex(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
        );
        let secret = hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        );
        let mut packet = [plain.clone(), vec![0; GCM_TAG + WORD]].concat();
        cipher.seal_rtcp(&mut packet, plain.len(), GCM_TAG, 0x4d61_7273, 0x8000_05d4);
        assert_eq!(packet, secret);
        assert_eq!(cipher.rtcp_word(&packet, GCM_TAG), 0x8000_05d4);
        assert!(cipher.open_rtcp(&mut packet, plain.len(), GCM_TAG, 0x4d61_7273, 0x8000_05d4));
        assert_eq!(packet[..plain.len()], plain);

        let readable = hex("841dd968 3dd78ec9 2ae58790 125f62b3 000005d4");
        let mut packet = [plain.clone(), readable].concat();
        assert!(cipher.open_rtcp(&mut packet, plain.len(), GCM_TAG, 0x4d61_7273, 0x0000_05d4));
        assert_eq!(packet[..plain.len()], plain);
    }
}
