//! Words that all rooms share. Floor 0: std and `rust_decimal` alone.

pub mod address;
pub mod cause;
pub mod e164;
pub mod host;
pub mod id;
pub mod money;
pub mod place;
pub mod prefix;
pub mod secret;
pub mod week;

pub use address::Addresses;
pub use cause::Cause;
pub use e164::E164;
pub use host::HostName;
pub use id::{CarrierId, GrantId, HotListName, LegId, MeetingId, OrganisationId, TokenName, UserId};
pub use money::{Currency, Micros};
pub use place::{Country, Language};
pub use prefix::PrefixMap;
pub use secret::SecretRef;
pub use week::Stretch;
