//! `plan.md`, the table of what carriers try and who shows it, against what is there.

use std::fs;
use std::path::Path;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers"))
}

#[test]
fn each_line_is_shown_by_tests_that_are_there() {
    let plan = fs::read_to_string(folder().join("plan.md")).unwrap();
    let rows: Vec<Vec<&str>> =
        plan.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| line.split('|').collect()).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let [_, line, shown_by, _] = row.as_slice() else { panic!("{row:?}") };
        for witness in shown_by.split(';') {
            let pieces: Vec<&str> = witness.split('`').collect();
            let file = pieces[0].split_whitespace().next_back().expect("a file");
            let code =
                fs::read_to_string(folder().join(format!("{file}.rs"))).unwrap_or_else(|e| panic!("{file}: {e}"));
            let tests: Vec<&&str> = pieces.iter().skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "{line}: {witness}");
            for test in tests {
                let before = code.split_once(&format!("fn {test}() {{")).map(|(before, _)| before);
                let above = before
                    .and_then(|before| before.trim_end().trim_end_matches("async").trim_end().lines().next_back());
                let runs = above
                    .is_some_and(|line| ["#[test]", "#[tokio::test"].iter().any(|mark| line.trim().starts_with(mark)));
                assert!(runs, "{line}: no test {test} in {file}");
            }
        }
    }
}

/// sipp's scenarios are files, which no compiler misses or finds unused.
#[test]
fn each_scenario_is_played() {
    let files = |folder: &Path, ending: &str| -> Vec<_> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
    };
    let code: String = files(folder(), "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let scenarios = files(folder(), "xml");
    assert!(!scenarios.is_empty());
    for path in scenarios {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(code.contains(&format!("\"{name}\"")), "nobody plays {name}.xml");
    }
}
