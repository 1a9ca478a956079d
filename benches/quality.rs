//! What a listener hears of a caller behind a bad network: MOS-LQO (ITU-T P.862.1, narrowband) of more than 32 s of
//! speech through a whole engine, and the delay added from mouth to ear. It must reach what `CASES` say.
//!
//! `cargo bench --bench quality` prints the table; `-- --check` fails if a figure is not reached; `-- --seeds N` takes N
//! seeds (5); `-- --keep` leaves the WAV files. Needs the `pesq` package from PyPI in `target/pesq` (`tests/run` puts it
//! there), or a Python that has it in `TOLLBRIDGE_PESQ_PYTHON`.

#[path = "../tests/quality/lab.rs"]
mod lab;
#[path = "../tests/quality/table.rs"]
mod table;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let seeds = words.iter().skip_while(|word| *word != "--seeds").nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let only = words.iter().skip_while(|word| *word != "--only").nth(1).map(String::as_str);
    let report = table::measure(seeds, only, words.iter().any(|word| word == "--keep")).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2)
    });
    println!("{report}");
    if words.iter().any(|word| word == "--check") && !report.missed().is_empty() {
        eprintln!("not reached: {}", report.missed().join(", "));
        std::process::exit(1);
    }
}
