//! A whole node: real sockets, real sound, real books. Each test ends with the audit.

mod crash;
mod dial_out;
mod joining;
mod keys;
mod money;
mod recording;
mod stranger;
mod world;
