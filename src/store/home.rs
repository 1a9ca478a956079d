//! The files of a node: the lock, the key of PINs, the proofs of life, and, where the store is SQLite, its database. They are
//! for their owner alone.

use super::fault::{OpenError, StoreError};
use super::life;
use super::pin::{KEY_LEN, PinKey};
use crate::types::LegId;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Mode of every file of a store: callers' numbers, hashes of PINs and money stand in them.
const OWNER_ALONE: u32 = 0o600;

/// Held as long as the store is open.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    /// Of the key of PINs, and whether it was made just now.
    key: (PathBuf, bool),
    life: Mutex<LifeFile>,
    /// Free the moment the process is gone: the kernel keeps it.
    _lock: File,
}

impl Home {
    /// Takes the files whose names begin with `stem`; `store` is what they are called in a refusal.
    pub fn open(stem: &Path, node: &str, store: &str) -> Result<(Home, PinKey), OpenError> {
        let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
        let lock = hold(stem, store)?;
        let key_file = key_file(stem);
        let (key, is_new) = pin_key(&key_file)?;
        let life = Mutex::new(LifeFile::open(stem, node)?);
        Ok((Home { folder: folder.to_owned(), key: (key_file, is_new), life, _lock: lock }, key))
    }

    /// Whether the key of PINs was made just now.
    pub fn key_file(&self) -> &Path {
        &self.key.0
    }

    pub const fn has_new_key(&self) -> bool {
        self.key.1
    }

    /// The books' PINs are of another key. One that was made just now is taken back: in its place the right one is to come.
    pub fn is_another_key(&self, store: &str) -> OpenError {
        let (file, is_new) = &self.key;
        if *is_new && let Err(error) = fs::remove_file(file) {
            return file_error(file, error);
        }
        OpenError::OtherKey { store: store.to_owned(), file: file.display().to_string() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes how long each live leg has talked, and returns when it is on the disk.
    pub fn prove(&self, legs: &[(LegId, u64)]) -> std::io::Result<()> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).prove(legs)
    }

    /// The last proofs, of whichever life wrote them.
    pub fn proofs(&self) -> Result<HashMap<LegId, u64>, StoreError> {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = [life.page(0), life.page(1)].map(|page| page.map_err(|error| StoreError::Down(error.to_string())));
        let [first, second] = pages;
        Ok(life::newest([first?, second?]).legs)
    }
}

/// Looks at the files of a store without making or changing one: its lock, shared with others who look and held for as long
/// as it is kept, and its key of PINs. Where there is no lock nobody has ever held it.
pub(super) fn glance(stem: &Path, store: &str) -> Result<(Option<File>, Option<PinKey>), OpenError> {
    let lock = match found(&beside(stem, "lock"))? {
        None => None,
        Some(mut lock) => match lock.try_lock_shared() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => return Err(held(&mut lock, store)),
            Err(TryLockError::Error(error)) => return Err(file_error(stem, error)),
        },
    };
    let file = key_file(stem);
    let Some(mut kept) = found(&file)? else { return Ok((lock, None)) };
    let mut key = Vec::new();
    kept.read_to_end(&mut key).map_err(|error| file_error(&file, error))?;
    let key = if key.is_empty() { None } else { Some(key_of(key, &file)?) };
    Ok((lock, key))
}

fn found(path: &Path) -> Result<Option<File>, OpenError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path, error)),
    }
}

/// A database of SQLite in a folder that nobody else may enter, gone with this. Its owner holds the folder's lock, so that
/// what a killed process left behind is known by the lock that nobody holds.
pub(super) struct Double {
    folder: PathBuf,
    _lock: File,
}

/// How the folder of a double is called; a random number follows.
const DOUBLE: &str = "tollbridge-trial-";

impl Double {
    /// Of the database at `path` and the log beside it, which nobody writes meanwhile; in a folder of its own in `among`, from
    /// which those that nobody owns any more are taken away.
    pub fn of(path: &Path, among: &Path) -> Result<Double, OpenError> {
        sweep(among);
        let double = loop {
            let mut random = [0; 16];
            rand::fill(&mut random);
            let folder = among.join(format!("{DOUBLE}{:032x}", u128::from_ne_bytes(random)));
            fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| file_error(&folder, error))?;
            // Whoever sweeps may have been faster: then there is none, or none to be had.
            match locked(&folder) {
                Ok(Some(lock)) if folder.exists() => break Double { folder, _lock: lock },
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    // Nobody could sweep what nobody can lock.
                    discard(&folder);
                    return Err(file_error(&folder, error));
                }
            }
        };
        for suffix in ["", "-wal"] {
            let named = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            let (from, to) = (named(path), named(&double.path()));
            match fs::copy(&from, &to) {
                Ok(_) => {}
                Err(error) if suffix == "-wal" && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(file_error(&to, error)),
            }
        }
        Ok(double)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("store.db")
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        discard(&self.folder);
    }
}

/// The lock of a folder; `None` where another has it.
fn locked(folder: &Path) -> std::io::Result<Option<File>> {
    let file = File::open(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes away what processes that were killed have left of doubles: such as are ours alone, and that nobody holds.
fn sweep(among: &Path) {
    for entry in fs::read_dir(among).into_iter().flatten().flatten() {
        let is_double = entry.file_name().to_string_lossy().starts_with(DOUBLE);
        let is_private = |own: &fs::Metadata| own.is_dir() && own.permissions().mode() & 0o777 == 0o700;
        // The lock is held until the folder is gone: whoever has just made it would take it in between.
        if is_double
            && entry.metadata().is_ok_and(|own| is_private(&own))
            && let Ok(Some(_lock)) = locked(&entry.path())
        {
            discard(&entry.path());
        }
    }
}

fn discard(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!(folder = %folder.display(), %error, "a copy of the books is left over: remove it");
    }
}

/// Makes the database of SQLite here, so that it, and the log beside it, which takes its mode, are nobody else's to read.
pub(super) fn database(path: &Path) -> Result<(), OpenError> {
    private(path)?;
    draw_in_the_log(path)
}

/// Where the key of PINs stands.
pub(super) fn key_file(stem: &Path) -> PathBuf {
    beside(stem, "pin-key")
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn file_error(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::File { what: path.display().to_string(), error }
}

/// Files of the store are for its owner alone, also those that were copied here with a wider mode.
fn private(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(OWNER_ALONE);
    let file = options.open(path).map_err(|error| file_error(path, error))?;
    draw_in(path, &file).map_err(|error| file_error(path, error))?;
    Ok(file)
}

fn draw_in(path: &Path, file: &File) -> std::io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o777 == OWNER_ALONE {
        return Ok(());
    }
    tracing::warn!(file = %path.display(), "others could read a file of the store: now they cannot");
    file.set_permissions(Permissions::from_mode(OWNER_ALONE))
}

/// The database's log and its index, where a crash left them. What SQLite makes anew takes the database's mode.
fn draw_in_the_log(store: &Path) -> Result<(), OpenError> {
    for suffix in ["-wal", "-shm"] {
        let mut path = store.as_os_str().to_owned();
        path.push(suffix);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => draw_in(path.as_ref(), &file).map_err(|error| file_error(path.as_ref(), error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(path.as_ref(), error)),
        }
    }
    Ok(())
}

/// Takes the store for this process. The lock is the kernel's, so that it is free the moment the process is gone.
fn hold(stem: &Path, store: &str) -> Result<File, OpenError> {
    let path = beside(stem, "lock");
    let mut file = private(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(&mut file, store)),
        Err(TryLockError::Error(error)) => return Err(file_error(&path, error)),
    }
    let pid = format!("{}\n", std::process::id());
    let written =
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(pid.as_bytes()));
    written.map(|()| file).map_err(|error| file_error(&path, error))
}

/// Who holds it, by what they wrote into the lock.
fn held(lock: &mut File, store: &str) -> OpenError {
    let mut pid = String::new();
    // They may be writing their number just now: then it is told without.
    let _ = lock.read_to_string(&mut pid);
    let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
    OpenError::Held { store: store.to_owned(), pid }
}

/// The key of PINs: made at the first start (`true`). A file of another length is no key: PINs hashed by it would fit nobody.
fn pin_key(path: &Path) -> Result<(PinKey, bool), OpenError> {
    let mut key = [0; KEY_LEN];
    let mut file = private(path)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found).map_err(|error| file_error(path, error))?;
    if found.is_empty() {
        rand::fill(&mut key);
        file.write_all(&key).and_then(|()| file.sync_all()).map_err(|error| file_error(path, error))?;
        return Ok((PinKey::new(key), true));
    }
    Ok((key_of(found, path)?, false))
}

fn key_of(bytes: Vec<u8>, path: &Path) -> Result<PinKey, OpenError> {
    let short = |_| OpenError::Unreadable(format!("{} is not a key of {KEY_LEN} bytes", path.display()));
    bytes.try_into().map(PinKey::new).map_err(short)
}

/// The two pages of proofs, a file each.
#[derive(Debug)]
struct LifeFile {
    pages: [File; 2],
    turn: u64,
}

impl LifeFile {
    fn open(store: &Path, node: &str) -> Result<LifeFile, OpenError> {
        let page = |number: u8| private(&beside(store, &format!("life-{node}-{number}")));
        let mut life = LifeFile { pages: [page(0)?, page(1)?], turn: 0 };
        let found = [life.page(0), life.page(1)].map(|page| page.ok().flatten());
        life.turn = life::newest(found).turn;
        Ok(life)
    }

    fn page(&self, number: usize) -> std::io::Result<Option<life::Page>> {
        let file = &self.pages[number];
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut bytes = vec![0; length.min(life::LONGEST_PAGE)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(life::read(&bytes))
    }

    fn prove(&mut self, legs: &[(LegId, u64)]) -> std::io::Result<()> {
        let turn = self.turn + 1;
        let file = &self.pages[(turn % 2) as usize];
        file.write_all_at(&life::write(turn, legs), 0)?;
        file.sync_data()?;
        self.turn = turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever was killed over a copy has left it, and its lock to nobody; whoever lives has both.
    #[test]
    fn copies_that_killed_trials_have_left_are_gone_with_the_next() {
        let among = tempfile::tempdir().unwrap();
        let store = among.path().join("books.db");
        fs::write(&store, "books").unwrap();
        let alive = Double::of(&store, among.path()).unwrap();
        let mut folder = fs::DirBuilder::new();
        let [left, open, other] =
            ["tollbridge-trial-left", "tollbridge-trial-open", "tollbridge-demo"].map(|name| among.path().join(name));
        folder.mode(0o700).create(&left).unwrap();
        fs::write(left.join("store.db"), "books").unwrap();
        fs::write(left.join("store.db-wal"), "more").unwrap();
        folder.mode(0o755).create(&open).unwrap();
        folder.mode(0o700).create(&other).unwrap();
        let next = Double::of(&store, among.path()).unwrap();
        assert!(!left.exists(), "nobody owns it");
        assert!(open.exists() && other.exists(), "no trial has made these");
        for own in [&alive, &next] {
            assert_eq!(fs::read(own.path()).unwrap(), b"books");
        }
        let folders = [alive.folder.clone(), next.folder.clone()];
        drop((alive, next));
        assert!(folders.iter().all(|folder| !folder.exists()));
        assert!(store.exists());
    }

    /// Each sweeps while the others make theirs: none is taken away from its owner.
    #[test]
    fn trials_at_once_keep_their_copies() {
        let among = tempfile::tempdir().unwrap();
        let store = among.path().join("books.db");
        fs::write(&store, "books").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let own = Double::of(&store, among.path()).unwrap();
                        assert_eq!(fs::read(own.path()).unwrap(), b"books");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(among.path()).unwrap().count(), 1, "the books alone");
    }
}
