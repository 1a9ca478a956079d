//! Carriers and numbers: who rings, whose number, which way out, and how much of it at once.
//!
//! [`Directory`] is an immutable snapshot that answers who and whose; [`DialPlan`] and [`WrittenAs`] bring numbers to
//! the one form that permission, price and routing share, and back; [`Guard`] counts what runs and what is guessed;
//! [`Patterns`] knows what fraud looks like, [`HotList`] which numbers thieves are known to call.

mod carrier;
mod directory;
mod format;
mod guard;
mod guess;
mod hot;
mod identity;
mod number;
mod pattern;
mod proof;
mod quirk;
mod route;
mod stir;
mod tally;
mod telephone;
mod turn;

pub use carrier::{
    CalledFrom, Carrier, CodecName, Failure, Hosts, OnLock, Route, Sender, Source, Srtp, TlsName, Transport,
};
pub use directory::{Called, Directory};
pub use format::{DialPlan, WrittenAs};
pub use guard::{Brake, Caller, Closing, Guard, GuardConfig, KNOWN_FOR, KeptTries, Limit, Scope, Tried};
pub use hot::{
    HotChange, HotEntries, HotKey, HotList, LARGEST_HOT, LONGEST_NOTE, MOST_HOT, MOST_SALTS,
    differences as hot_differences, read as read_hot,
};
pub use identity::{Claims, Party, Whence};
pub use number::{Number, NumberKind, is_emergency};
pub use pattern::{Alarm, Pattern, PatternConfig, Patterns, Sight};
pub use proof::{Algorithm, Aor, Challenge, Digest, Register};
pub use quirk::{KeysBy, Quirk};
pub use route::{Meaning, Progress, Verdict};
pub use stir::{
    Attestation, Flaw, LARGEST_LIST, LONGEST_IDENTITY, MOST_IDENTITIES, Mark, Signed, Spent, StirFiles, StirPolicy,
    Trust,
};
pub use tally::Tally;
pub use telephone::Telephone;
pub use turn::{Hours, MOST_HOURS, MOST_PRIORITY, MOST_REACH, MOST_WEIGHT, Reach, Turn, Zone, in_turn};
