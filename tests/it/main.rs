//! A whole node: real sockets, real sound, real books. Each test ends with the audit.

mod crash;
mod dial_out;
mod joining;
mod keys;
mod money;
mod notice;
mod recharge;
mod recording;
mod revoking;
mod roles;
mod sink;
mod stranger;
mod world;
