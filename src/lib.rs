//! # The map
//!
//! A carrier's line rings ([`sip`]). The number tells whose house it is ([`trunk`]). A leg is born ([`leg`]). The
//! accountant says how long it may talk ([`rating`]). Its sound is carried and mixed ([`media`]). It meets the others
//! ([`meeting`]). The books remember ([`store`]). The [`switchboard`] introduces them to each other, and decides nothing.
//!
//! ## Floors
//! A room imports only from a lower floor; rooms of one floor do not know each other. `tests/tidy.rs` holds them to it.
//!
//! ```text
//! 8  main  cli        opens the door
//! 7  node             wires everything
//! 6  config           adds up every room's settings
//! 5  api              the reception window
//! 4  switchboard      introduces the crafts to each other
//! 3  cluster          who is alive, where a meeting lives
//! 2  store            remembers; the only room with SQL
//! 1  sip  media  trunk  leg  meeting  rating  notice   seven crafts, strangers to each other
//! 0  types  clock  telemetry  form  priority      words, moments, counters, forms that people fill in, who goes first
//! ```
//!
//! ## How a room is built
//! Its logic is a machine that is fed and drained: time and randomness are arguments. What meets the world (sockets,
//! threads, tasks, clocks) stands in files called `io.rs`, and nowhere else.

// `println!` and `eprintln!` panic on a closed pipe (`| head -1`): `cli::say` and `cli::note` do not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod form;
pub mod leg;
pub mod media;
pub mod meeting;
pub mod node;
pub mod notice;
pub mod priority;
pub mod rating;
pub mod sip;
pub mod store;
pub mod switchboard;
pub mod telemetry;
pub mod trunk;
pub mod types;
