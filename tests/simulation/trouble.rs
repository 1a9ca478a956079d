//! Trouble in the books' own database, statement by statement: answers that are lost, a node that dies between any two of
//! them (or after a COMMIT that nobody hears of), a database that cannot be had for a while.
//!
//! The product has no part in it. SQLite asks an extension whenever a connection is opened, tells of each statement that
//! begins, asks while it works and when it ends whether to go on, and asks before it commits: whoever answers "no" there is
//! the fault. What was done stays done, or is taken back by SQLite itself, as after a real one.

use libsqlite3_sys as sqlite;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What happens at a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Its answer is an error, whatever was done.
    Fails,
    /// The process ends before it: nothing that follows is done.
    DiesBefore,
    /// The process ends when it is done: of a COMMIT, the books have it, and nobody was told.
    DiesAfter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    /// This very statement is struck.
    Striking(Blow),
    Dead,
    /// No connection can be had, and those that there are answer nothing.
    Out,
}

/// Which statement is to be struck.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// So many more go well.
    After(u64),
    /// The COMMIT of what says this.
    CommitOf(&'static str),
    Commit,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    aim: Option<(Aim, Blow)>,
    /// Blows that were dealt, each with the statement that it hit.
    dealt: Vec<(Blow, String)>,
}

/// One database's trouble.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<State>);

/// By the path of the database. What is in it is leaked: SQLite keeps bare pointers, and a simulation makes a few.
static ALL: Mutex<BTreeMap<String, &'static Trouble>> = Mutex::new(BTreeMap::new());

impl Trouble {
    /// From now on connections that write to `path` are in its hands.
    pub fn at(path: &Path) -> &'static Trouble {
        static ONCE: Once = Once::new();
        // SAFETY: the entry point has the signature that SQLite's manual asks for; it is named before the first connection.
        ONCE.call_once(|| assert_eq!(unsafe { sqlite::sqlite3_auto_extension(Some(opened)) }, sqlite::SQLITE_OK));
        let trouble: &'static Trouble = Box::leak(Box::default());
        all().insert(path.display().to_string(), trouble);
        trouble
    }

    pub fn gone(path: &Path) {
        all().remove(&path.display().to_string());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After so many statements more.
    pub fn aim(&self, statements: u64, blow: Blow) {
        self.state().aim = Some((Aim::After(statements), blow));
    }

    /// At the COMMIT of what says `words`, unless something else is aimed at.
    pub fn aim_at_commit_of(&self, words: &'static str, blow: Blow) {
        self.state().aim.get_or_insert((Aim::CommitOf(words), blow));
    }

    /// What was aimed at is aimed at no longer.
    pub fn miss(&self) {
        self.state().aim = None;
    }

    pub fn go_out(&self) {
        self.state().mood = Mood::Out;
    }

    /// It can be had again.
    pub fn back(&self) {
        let mut state = self.state();
        if state.mood == Mood::Out {
            state.mood = Mood::Well;
        }
    }

    /// All is well from now on, also for a process that begins.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.mood, state.aim) = (Mood::Well, None);
    }

    /// A process of its own begins: what was aimed at is aimed at still.
    pub fn begin(&self) {
        let mut state = self.state();
        if state.mood == Mood::Dead {
            state.mood = Mood::Well;
        }
    }

    pub fn is_dead(&self) -> bool {
        self.state().mood == Mood::Dead
    }

    /// Blows that were dealt since this was asked last.
    pub fn dealt(&self) -> Vec<(Blow, String)> {
        std::mem::take(&mut self.state().dealt)
    }
}

fn all() -> MutexGuard<'static, BTreeMap<String, &'static Trouble>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection has been opened.
unsafe extern "C" fn opened(
    db: *mut sqlite::sqlite3,
    _error: *mut *mut c_char,
    _api: *const sqlite::sqlite3_api_routines,
) -> c_int {
    // SAFETY: `db` is open, and `main` is there; the name is a text that lives as long as the connection.
    let (name, reads) = unsafe {
        let name = sqlite::sqlite3_db_filename(db, c"main".as_ptr());
        if name.is_null() {
            return sqlite::SQLITE_OK;
        }
        (CStr::from_ptr(name).to_string_lossy().into_owned(), sqlite::sqlite3_db_readonly(db, c"main".as_ptr()) == 1)
    };
    let Some(trouble) = all().get(&name).copied().filter(|_| !reads) else { return sqlite::SQLITE_OK };
    if matches!(trouble.state().mood, Mood::Dead | Mood::Out) {
        return sqlite::SQLITE_CANTOPEN;
    }
    let it = ptr::from_ref(trouble).cast_mut().cast::<c_void>();
    // SAFETY: what they are given lives for ever, and is behind a lock.
    unsafe {
        sqlite::sqlite3_trace_v2(db, sqlite::SQLITE_TRACE_STMT as c_uint, Some(begins), it);
        sqlite::sqlite3_progress_handler(db, 1, Some(goes_on), it);
        sqlite::sqlite3_commit_hook(db, Some(commits), it);
    }
    sqlite::SQLITE_OK
}

/// SAFETY: of all three, `it` is what `opened` gave them.
unsafe fn trouble(it: *mut c_void) -> &'static Trouble {
    unsafe { &*it.cast::<Trouble>() }
}

/// A statement begins.
unsafe extern "C" fn begins(_kind: c_uint, it: *mut c_void, _statement: *mut c_void, text: *mut c_void) -> c_int {
    let text = text.cast::<c_char>();
    // SAFETY: SQLite gives the statement's text, which ends in a zero.
    let (trouble, text) = unsafe { (trouble(it), CStr::from_ptr(text).to_string_lossy()) };
    // A trigger's own begin with this.
    if text.starts_with("--") {
        return 0;
    }
    let mut state = trouble.state();
    match state.aim.filter(|_| state.mood == Mood::Well) {
        Some((Aim::After(left), blow)) if left > 0 => state.aim = Some((Aim::After(left - 1), blow)),
        Some((Aim::CommitOf(words), blow)) if text.contains(words) => state.aim = Some((Aim::Commit, blow)),
        Some((Aim::CommitOf(_), _)) => {}
        Some((Aim::Commit, _)) if text != "COMMIT" => {}
        Some((Aim::After(_) | Aim::Commit, blow)) => {
            state.aim = None;
            state.mood = if blow == Blow::DiesBefore { Mood::Dead } else { Mood::Striking(blow) };
            state.dealt.push((blow, text.into_owned()));
        }
        None => {}
    }
    0
}

/// Asked while a statement works, and when it is done: other than zero is "no".
unsafe extern "C" fn goes_on(it: *mut c_void) -> c_int {
    // SAFETY: see there.
    let mut state = unsafe { trouble(it) }.state();
    match state.mood {
        Mood::Well => return 0,
        Mood::Striking(Blow::DiesAfter) => state.mood = Mood::Dead,
        Mood::Striking(_) => state.mood = Mood::Well,
        Mood::Dead | Mood::Out => {}
    }
    1
}

/// Asked before a COMMIT is done: other than zero takes all back.
unsafe extern "C" fn commits(it: *mut c_void) -> c_int {
    // SAFETY: see there.
    c_int::from(matches!(unsafe { trouble(it) }.state().mood, Mood::Dead | Mood::Out))
}
