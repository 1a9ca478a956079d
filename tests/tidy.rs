//! The law of the house, checked: which room may import which, where sockets, threads and clocks may stand, and what
//! must not be left lying about. Each breach is told with its file, line and reason.

use std::fs;
use std::path::{Path, PathBuf};

/// A room imports only from a lower floor. Rooms of one floor are strangers.
const FLOORS: &[(&str, u8)] = &[
    ("main", 8),
    ("cli", 8),
    ("node", 7),
    ("config", 6),
    ("api", 5),
    ("switchboard", 4),
    ("cluster", 3),
    ("store", 2),
    ("sip", 1),
    ("media", 1),
    ("trunk", 1),
    ("leg", 1),
    ("meeting", 1),
    ("rating", 1),
    ("notice", 1),
    ("types", 0),
    ("clock", 0),
    ("telemetry", 0),
    ("form", 0),
    ("priority", 0),
];

/// Words of the lowest floor that its other rooms may use.
const GROUND: &[&str] = &["types", "clock", "telemetry", "form", "priority"];

/// What only `io.rs`, `clock.rs`, `node.rs`, `main.rs` and the command line may touch.
const WORLD: &[(&str, &str)] = &[
    ("std::net::UdpSocket", "opens sockets"),
    ("std::net::Tcp", "opens sockets"),
    ("tokio::net", "opens sockets"),
    ("tokio::spawn", "starts tasks"),
    ("thread::spawn", "starts threads"),
    ("thread::Builder", "starts threads"),
    ("thread::sleep", "waits"),
    ("tokio::time", "reads the clock"),
    ("Instant::now", "reads the clock"),
    ("SystemTime::now", "reads the clock"),
    ("Now::read", "reads the clock"),
    ("clock::mono()", "reads the clock"),
    ("clock::wall()", "reads the clock"),
    ("rand::rng()", "draws randomness that no seed repeats"),
];

/// Files that only one room may have a reason to write.
const OWNED: &[(&str, &str, &str)] = &[
    ("rsip::", "src/sip/message.rs", "rsip is seen by one file, so that it can be replaced"),
    ("sqlx::", "src/store/", "the store is the only room with SQL"),
    ("axum::", "src/api/", "HTTP is the reception window's"),
];

/// No file longer than this: the hub is where a telephony server rots.
const LONGEST_FILE: usize = 800;

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }

    fn meets_the_world(&self) -> bool {
        let file = self.path.file_name().unwrap().to_string_lossy();
        ["io.rs", "node.rs", "clock.rs", "main.rs"].contains(&file.as_ref()) || self.room == "cli"
    }

    /// Lines that are code of the product: comments and the tests beside the code left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let body = self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        body.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join("src"), &mut found);
    let read = |path: PathBuf| {
        let path = path.strip_prefix(root).unwrap().to_owned();
        let first = path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        Source { text: fs::read_to_string(root.join(&path)).unwrap(), room, path }
    };
    found.into_iter().map(read).filter(|source| source.room != "lib").collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

fn assert_none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Every room that a line names: `crate::room`, `tollbridge::room`, and the members of `crate::{…}`.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for head in ["crate::", "tollbridge::"] {
        for (at, _) in line.match_indices(head) {
            let rest = &line[at + head.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let mut depth = 0;
                let mut word = String::new();
                let mut fresh = true;
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            rooms.push(std::mem::take(&mut word));
                            fresh = true;
                        }
                        c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => word.push(c),
                        ':' => fresh = false,
                        _ => {}
                    }
                }
                rooms.push(word);
            } else {
                rooms.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    rooms.retain(|room| floor(room).is_some());
    rooms
}

#[test]
fn a_room_imports_only_from_a_lower_floor() {
    let mut breaches = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.room) else {
            breaches.push(format!("{}: a room that no floor has", source.name()));
            continue;
        };
        for (number, line) in source.code() {
            for other in rooms_named(line) {
                let below = floor(&other).unwrap() < own;
                let neighbour_word = own == 0 && GROUND.contains(&other.as_str());
                // The command line is the arguments of main: one front door in two parts.
                let front_door = source.room == "main" && other == "cli";
                if other != source.room && !below && !neighbour_word && !front_door {
                    breaches.push(format!(
                        "{}:{number}: {} (floor {own}) imports {other} (floor {}): only lower floors may be imported",
                        source.name(),
                        source.room,
                        floor(&other).unwrap()
                    ));
                }
            }
        }
    }
    assert_none(breaches);
}

#[test]
fn the_world_is_met_in_io_files_alone() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.meets_the_world()) {
        for (number, line) in source.code() {
            for (word, what) in WORLD.iter().filter(|(word, _)| line.contains(word)) {
                breaches.push(format!("{}:{number}: {word} {what}: that is for io.rs", source.name()));
            }
        }
    }
    assert_none(breaches);
}

#[test]
fn a_foreign_library_stays_behind_its_wall() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (word, home, why) in OWNED {
                if line.contains(word) && !source.name().starts_with(home) {
                    breaches.push(format!("{}:{number}: {word} outside {home}: {why}", source.name()));
                }
            }
        }
    }
    assert_none(breaches);
}

#[test]
fn nothing_is_left_lying_about() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for word in ["FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"] {
                if line.contains(word) {
                    breaches.push(format!("{}:{}: {word}", source.name(), number + 1));
                }
            }
        }
        let file = source.path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["utils", "util", "manager", "handler", "common", "helpers", "misc"].contains(&file.as_str()) {
            breaches.push(format!("{}: a name that says nothing", source.name()));
        }
        let length = source.code().count();
        if length > LONGEST_FILE {
            breaches.push(format!("{}: {length} lines of code; at most {LONGEST_FILE}", source.name()));
        }
    }
    assert_none(breaches);
}

/// Money never touches a binary float, and no SQL is put together from pieces.
#[test]
fn money_is_exact_and_sql_is_constant() {
    let mut breaches = Vec::new();
    for source in sources() {
        let money = ["rating", "store"].contains(&source.room.as_str()) || source.name().ends_with("types/money.rs");
        for (number, line) in source.code() {
            if money && (line.contains("f64") || line.contains("f32")) {
                breaches.push(format!("{}:{number}: a float in a room of money", source.name()));
            }
            // One file says the schema, which is our own text, in two databases' words.
            if line.contains("AssertSqlSafe") && source.name() != "src/store/sql.rs" {
                breaches.push(format!("{}:{number}: SQL put together from pieces", source.name()));
            }
        }
    }
    assert_none(breaches);
}
