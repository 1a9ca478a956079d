//! The sound that a bad network leaves, judged by ITU-T P.862.1 (see `benches/quality.rs` for the table).

mod lab;
mod table;

/// Seeds of the short form, and of `tests/run --long`.
const SEEDS: u64 = 5;
const SEEDS_LONG: u64 = 25;

#[test]
fn speech_stays_close_to_the_ceiling() {
    let seeds = if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { SEEDS_LONG } else { SEEDS };
    let report = table::measure(seeds, None, false).unwrap_or_else(|error| panic!("{error}"));
    println!("{report}");
    assert!(report.missed().is_empty(), "{report}\nnot reached: {}", report.missed().join(", "));
}
