//! A whole node: real sockets, real sound, real books. Each test ends with the audit.

mod attack;
mod bridge;
mod crash;
mod crowd;
mod dial_out;
mod digest;
mod disk;
mod drain;
mod fraud;
mod full;
mod identity;
mod ipv6;
mod joining;
mod keys;
mod long;
mod money;
mod names;
mod naming;
mod notice;
mod outage;
mod plain;
mod recharge;
mod recording;
mod revoking;
mod roles;
mod routing;
mod seeing;
mod sink;
mod standing;
mod stranger;
mod tls;
mod trace;
mod transfer;
#[allow(dead_code)] // Whole deaths are for the simulation.
#[path = "../simulation/trouble.rs"]
mod trouble;
mod watching;
#[allow(dead_code)] // At which statement it is cut is for the store's own tests.
mod wire;
mod world;
