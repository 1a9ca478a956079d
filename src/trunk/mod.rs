//! Carriers and numbers: who rings, whose number, which way out, and how much of it at once.
//!
//! [`Directory`] is an immutable snapshot that answers who and whose; [`DialPlan`] and [`WrittenAs`] bring numbers to
//! the one form that permission, price and routing share, and back; [`Guard`] counts what runs and what is guessed;
//! [`Patterns`] knows what fraud looks like, [`HotList`] which numbers thieves are known to call.

mod carrier;
mod directory;
mod format;
mod guard;
mod hot;
mod number;
mod pattern;
mod proof;
mod route;
mod telephone;

pub use carrier::{CalledFrom, Carrier, CodecName, Failure, OnLock, Route, Source, Srtp, TlsName, Transport};
pub use directory::{Called, Directory};
pub use format::{DialPlan, WrittenAs};
pub use guard::{Brake, Caller, Closing, Guard, GuardConfig, Limit, Scope};
pub use hot::{
    HotChange, HotEntries, HotList, HotPrefix, LARGEST_HOT, LONGEST_NOTE, MOST_HOT, differences as hot_differences,
    read as read_hot,
};
pub use number::{Number, NumberKind};
pub use pattern::{Alarm, Pattern, PatternConfig, Patterns, Sight};
pub use proof::{Algorithm, Aor, Challenge, Digest, Register};
pub use route::{Progress, Verdict};
pub use telephone::Telephone;
