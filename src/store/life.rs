//! Proof of life: once a second, how long each live leg of this node has talked, in one small file. After a crash each
//! leg is settled at its last proof, so that a crash costs at most a second.
//!
//! Two pages are written in turn. A write that a crash tore leaves one page whose sum does not fit, and the other,
//! which is a second older, is used.

use crate::types::LegId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// First bytes of a page.
const MAGIC: [u8; 8] = *b"TBLIFE01";
const HEAD: usize = 8 + 8 + 4;
const ENTRY: usize = 16 + 8;
const SUM: usize = 32;

/// Legs in a page: five times what one node carries. A file that claims more is torn or no page.
pub(super) const MOST_LEGS: usize = 65_536;

/// Bytes of the longest page.
pub(super) const LONGEST_PAGE: usize = HEAD + MOST_LEGS * ENTRY + SUM;

/// One page: its turn and the legs with their milliseconds since answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub turn: u64,
    pub legs: HashMap<LegId, u64>,
}

/// The bytes of a page. Of more legs than a page holds the last are left out: they are settled by their last hold.
pub(super) fn write(turn: u64, legs: &[(LegId, u64)]) -> Vec<u8> {
    let legs = &legs[..legs.len().min(MOST_LEGS)];
    let mut bytes = Vec::with_capacity(HEAD + legs.len() * ENTRY + SUM);
    bytes.extend(MAGIC);
    bytes.extend(turn.to_be_bytes());
    bytes.extend((legs.len() as u32).to_be_bytes());
    for (leg, elapsed_ms) in legs {
        bytes.extend(leg.as_u128().to_be_bytes());
        bytes.extend(elapsed_ms.to_be_bytes());
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum.as_slice());
    bytes
}

/// Reads a page; `None` where it is torn or was never written. What stands behind the page (of an earlier, longer one)
/// does not matter.
pub(super) fn read(bytes: &[u8]) -> Option<Page> {
    let count = u32::from_be_bytes(bytes.get(16..HEAD)?.try_into().ok()?) as usize;
    if !bytes.starts_with(&MAGIC) || count > MOST_LEGS {
        return None;
    }
    let end = HEAD + count * ENTRY;
    let sum = bytes.get(end..end + SUM)?;
    if Sha256::digest(&bytes[..end]).as_slice() != sum {
        return None;
    }
    let turn = u64::from_be_bytes(bytes[8..16].try_into().ok()?);
    let entry = |entry: &[u8]| {
        let leg = u128::from_be_bytes(entry[..16].try_into().ok()?);
        Some((LegId::from_u128(leg), u64::from_be_bytes(entry[16..].try_into().ok()?)))
    };
    let legs = bytes[HEAD..end].chunks_exact(ENTRY).filter_map(entry).collect();
    Some(Page { turn, legs })
}

/// The newest of the pages that can be read.
pub(super) fn newest(pages: [Option<Page>; 2]) -> Page {
    pages.into_iter().flatten().max_by_key(|page| page.turn).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legs(count: u64) -> Vec<(LegId, u64)> {
        (0..count).map(|n| (LegId::new(n, u128::from(n) * 7), n * 1_000)).collect()
    }

    #[test]
    fn the_newest_whole_page_counts() {
        let (old, new) = (write(1, &legs(2)), write(2, &legs(3)));
        assert_eq!(newest([read(&old), read(&new)]).legs.len(), 3);
        assert_eq!(newest([read(&old), read(&new[..new.len() - 1])]).turn, 1);
        assert_eq!(newest([None, None]), Page::default());
    }

    #[test]
    fn a_shorter_page_over_a_longer_one_is_read() {
        let mut bytes = write(1, &legs(9));
        let short = write(3, &legs(2));
        bytes[..short.len()].copy_from_slice(&short);
        assert_eq!(read(&bytes).map(|page| (page.turn, page.legs.len())), Some((3, 2)));
    }

    proptest! {
        #[test]
        fn a_page_is_read_whole_or_not_at_all(count in 0u64..40, cut in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let whole = write(7, &legs(count));
            prop_assert_eq!(read(&whole).unwrap().legs.len() as u64, count);
            let at = cut.index(whole.len());
            prop_assert_eq!(read(&whole[..at]), None);
            let mut torn = whole.clone();
            torn[at] ^= flip;
            prop_assert_eq!(read(&torn), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }
    }
}
