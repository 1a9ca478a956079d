//! A whole node: real sockets, real sound, real books. Each test ends with the audit.

mod attack;
mod bridge;
mod crash;
mod dial_out;
mod digest;
mod disk;
mod drain;
mod fraud;
mod joining;
mod keys;
mod money;
mod notice;
mod outage;
mod recharge;
mod recording;
mod revoking;
mod roles;
mod seeing;
mod sink;
mod standing;
mod stranger;
mod tls;
#[allow(dead_code)] // Whole deaths are for the simulation.
#[path = "../simulation/trouble.rs"]
mod trouble;
#[allow(dead_code)] // At which statement it is cut is for the store's own tests.
mod wire;
mod world;
