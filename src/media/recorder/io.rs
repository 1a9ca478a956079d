//! The rim of recordings: one thread, one folder, and what the disk has to say.
//!
//! The thread wakes every 100 ms, writes what the rings hold and reads no clock to know how long a recording is. Files
//! are brought to the disk one between two rounds, since that may take the disk longer than a ring holds.

use super::recording::{Ended, Recording};
use super::tap::{self, Counter, Spout};
use super::track::Part;
use super::{Event, Plan, RecordingId, Reel, Report, Tap, Voice, Why};
use crate::clock::{self, Mono, Wall};
use crate::media::codec::Rate;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc as tokio_mpsc;

/// A thirtieth of what a ring holds: five ticks a write, and room for a disk that hesitates.
const ROUND: Duration = Duration::from_millis(100);
/// The disk's free space is looked at once in so many rounds.
const FREE_ROUNDS: u32 = 10;
/// Orders that may wait for the thread; a meeting of a thousand is one burst of them.
const MOST_WAITING: usize = 4_096;
/// Events that may wait for the owner. What does not fit is told later.
const MOST_EVENTS: usize = 1_024;
/// Recordings at once: a thousand mixes at 16 kHz are 32 MB/s, what a plain disk writes.
const MOST_RECORDINGS: usize = 1_000;
/// Left free for the store, the logs and the machine: the ledger needs its disk more than a recording does.
const FLOOR_OCTETS: u64 = 1 << 30;
/// Nobody else's to read: people speak in there.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Settings of the rim.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the files go; made if it is not there.
    pub folder: PathBuf,
    /// With less free than this, nothing is recorded.
    pub floor_octets: u64,
    pub most_recordings: usize,
}

impl Config {
    pub fn new(folder: PathBuf) -> Config {
        Config { folder, floor_octets: FLOOR_OCTETS, most_recordings: MOST_RECORDINGS }
    }
}

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the folder {0} for recordings: {1}")]
    Folder(PathBuf, io::Error),
    #[error("cannot start the recorder's thread: {0}")]
    Thread(io::Error),
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("as many recordings as may be")]
    Full,
    /// The disk keeps the recorder waiting, or it has ended.
    #[error("the recorder is behind")]
    Busy,
}

enum Order {
    Begin { recording: RecordingId, plan: Plan, counter: Counter, at: Wall },
    Track { recording: RecordingId, voice: Voice, spout: Spout },
    Stop { recording: RecordingId },
}

/// The owner's handle. Dropped, it ends all recordings and waits until they are on the disk.
#[derive(Debug)]
pub struct Recorder {
    orders: Option<SyncSender<Order>>,
    running: Arc<AtomicUsize>,
    most: usize,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    pub fn start(config: Config) -> Result<(Recorder, tokio_mpsc::Receiver<Event>), Error> {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&config.folder);
        let made = made.and_then(|()| free_octets(&config.folder));
        made.map_err(|error| Error::Folder(config.folder.clone(), error))?;
        let (orders, queue) = mpsc::sync_channel(MOST_WAITING);
        let (events, heard) = tokio_mpsc::channel(MOST_EVENTS);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), config.most_recordings);
        let desk = Desk::new(config, events, running.clone());
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || desk.run(&queue));
        let thread = Some(thread.map_err(Error::Thread)?);
        Ok((Recorder { orders: Some(orders), running, most, thread }, heard))
    }

    /// A recording without tracks. It runs as long as its reel turns, and ends when the reel is dropped.
    pub fn begin(&self, recording: RecordingId, plan: Plan) -> Result<Reel, Refusal> {
        if self.running.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Full);
        }
        let (reel, counter) = tap::reel();
        let begun = self.order(Order::Begin { recording, plan, counter, at: clock::wall() });
        if begun.is_err() {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
        begun.map(|()| reel)
    }

    /// Another track, silent until it is pushed, for sound of up to `rate`.
    pub fn track(&self, recording: RecordingId, voice: Voice, rate: Rate) -> Result<Tap, Refusal> {
        let (tap, spout) = tap::ring(rate);
        self.order(Order::Track { recording, voice, spout }).map(|()| tap)
    }

    /// The recording ends at the tick that is being recorded, whatever its reel does afterwards.
    pub fn stop(&self, recording: RecordingId) -> Result<(), Refusal> {
        self.order(Order::Stop { recording })
    }

    fn order(&self, order: Order) -> Result<(), Refusal> {
        self.orders.as_ref().and_then(|orders| orders.try_send(order).ok()).ok_or(Refusal::Busy)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.orders = None;
        // A panic of the thread has been told already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

type Open = Box<dyn FnMut(&str) -> io::Result<File> + Send>;

struct Running {
    recording: Recording<File, Open>,
    /// Whether `Started` was told.
    is_told: bool,
}

/// Everything that the thread owns.
struct Desk {
    config: Config,
    events: tokio_mpsc::Sender<Event>,
    count: Arc<AtomicUsize>,
    running: BTreeMap<RecordingId, Running>,
    /// Ended, and not yet on the disk.
    closing: VecDeque<(RecordingId, Report, Vec<Part<File>>)>,
    /// Not yet told. At most a few for each recording that is counted.
    untold: VecDeque<Event>,
    rounds: u32,
}

impl Desk {
    fn new(config: Config, events: tokio_mpsc::Sender<Event>, count: Arc<AtomicUsize>) -> Desk {
        let (running, closing, untold) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Desk { config, events, count, running, closing, untold, rounds: 0 }
    }

    fn run(mut self, queue: &Receiver<Order>) {
        let mut is_open = true;
        while is_open || !self.running.is_empty() || !self.closing.is_empty() {
            if self.closing.is_empty() {
                std::thread::sleep(ROUND);
            }
            is_open = self.obey(queue);
            if !is_open {
                self.stop_all(Why::Closing);
            }
            self.round();
        }
    }

    /// Carries out what waits, but no more than could: the rings must not wait for a burst. False: nobody orders any more.
    fn obey(&mut self, queue: &Receiver<Order>) -> bool {
        for _ in 0..MOST_WAITING {
            match queue.try_recv() {
                Ok(order) => self.carry_out(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn stop_all(&mut self, why: Why) {
        let now = clock::mono();
        self.running.values_mut().for_each(|running| running.recording.stop(now, why));
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Begin { recording, plan, counter, at } => self.begin(recording, &plan, counter, at),
            Order::Track { recording, voice, spout } => {
                let voice = match self.running.get_mut(&recording) {
                    Some(running) => running.recording.add(voice, spout).err(),
                    None => Some(voice),
                };
                self.untold.extend(voice.map(|voice| Event::Untracked { recording, voice }));
            }
            Order::Stop { recording } => {
                if let Some(running) = self.running.get_mut(&recording) {
                    running.recording.stop(clock::mono(), Why::Asked);
                }
            }
        }
    }

    fn begin(&mut self, recording: RecordingId, plan: &Plan, counter: Counter, at: Wall) {
        let mut new = Recording::new(plan, &moment(at), counter, opener(self.config.folder.clone()));
        if let Some(why) = self.too_little() {
            new.stop(clock::mono(), why);
        }
        self.running.insert(recording, Running { recording: new, is_told: false });
    }

    fn round(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds.is_multiple_of(FREE_ROUNDS)
            && !self.running.is_empty()
            && let Some(why) = self.too_little()
        {
            self.stop_all(why);
        }
        self.work(clock::mono());
        self.close_one();
        self.tell();
    }

    fn work(&mut self, now: Mono) {
        let (closing, untold) = (&mut self.closing, &mut self.untold);
        self.running.retain(|id, running| match running.recording.work(now) {
            Some(Ended { report, parts }) => {
                closing.push_back((*id, report, parts));
                false
            }
            None => {
                if !running.is_told && running.recording.is_recording() {
                    running.is_told = true;
                    untold.push_back(Event::Started { recording: *id });
                }
                true
            }
        });
    }

    /// One file to the disk, or the word that all of a recording are there.
    fn close_one(&mut self) {
        let Some((recording, report, parts)) = self.closing.front_mut() else { return };
        let Some(part) = parts.pop() else {
            let (recording, mut report) = (*recording, report.clone());
            self.closing.pop_front();
            // The names too must be there after a loss of power.
            let named = File::open(&self.config.folder).and_then(|folder| folder.sync_all());
            blame(&mut report, named);
            alarm(recording, &report);
            self.untold.push_back(Event::Stopped { recording, report });
            return;
        };
        let settled = part.file.set_len(part.octets).and_then(|()| part.file.sync_all());
        if let Err(error) = &settled {
            tracing::error!(recording = recording.0, file = part.name, %error, "a recording is not on the disk");
        }
        blame(report, settled);
    }

    fn tell(&mut self) {
        while let Some(event) = self.untold.pop_front() {
            let is_last = matches!(event, Event::Stopped { .. });
            if let Err(tokio_mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.untold.push_front(event);
                return;
            }
            self.count.fetch_sub(usize::from(is_last), Ordering::Relaxed);
        }
    }

    fn too_little(&self) -> Option<Why> {
        match free_octets(&self.config.folder) {
            Ok(free) if free < self.config.floor_octets => Some(Why::DiskLow),
            Ok(_) => None,
            Err(error) => Some(Why::of(&error)),
        }
    }
}

fn blame(report: &mut Report, done: io::Result<()>) {
    if let Err(error) = done
        && !report.why.is_alarm()
    {
        report.why = Why::of(&error);
    }
}

fn alarm(recording: RecordingId, report: &Report) {
    let (why, length_ms) = (report.why, report.length_ms);
    if why.is_alarm() {
        tracing::error!(recording = recording.0, %why, length_ms, "a recording was broken off; its meeting goes on");
    } else {
        tracing::info!(recording = recording.0, %why, length_ms, "recorded");
    }
}

/// Files of their own: never over one that is there, nor through a link.
fn opener(folder: PathBuf) -> Open {
    Box::new(move |name| OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(folder.join(name)))
}

/// UTC to the millisecond; sorts as text, and has no sign that a file system or a shell minds.
fn moment(at: Wall) -> String {
    let stamp = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

/// What is free for us in a folder's file system.
fn free_octets(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: zeros are a valid struct of integers; the call reads a text that ends, and writes that one struct.
    let space = unsafe {
        let mut space: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut space) != 0 {
            return Err(io::Error::last_os_error());
        }
        space
    };
    // Both are of 32 bits on some machines.
    #[allow(clippy::useless_conversion)]
    Ok(u64::from(space.f_bavail).saturating_mul(u64::from(space.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Label};
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn plan(format: Format) -> Plan {
        Plan { meeting: Label::parse("4711").unwrap(), rate: Rate::Wide, format }
    }

    fn stopped(events: &mut tokio_mpsc::Receiver<Event>) -> Report {
        loop {
            if let Event::Stopped { report, .. } = events.blocking_recv().unwrap() {
                return report;
            }
        }
    }

    #[test]
    fn a_meeting_lies_in_files_that_only_we_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, mut events) = Recorder::start(Config::new(folder.path().join("rec"))).unwrap();
        for (id, format) in [(1, Format::Wav), (2, Format::Opus)] {
            let id = RecordingId(id);
            let mut reel = recorder.begin(id, plan(format)).unwrap();
            let mut mixed = recorder.track(id, Voice::Mixed, Rate::Wide).unwrap();
            let mut one = recorder.track(id, Voice::One(Label::parse("p1").unwrap()), Rate::Wide).unwrap();
            assert_eq!(events.blocking_recv(), Some(Event::Started { recording: id }));
            for _ in 0..75 {
                reel.tick();
                mixed.push(&reel, Rate::Wide, &[100; 320]);
                one.push(&reel, Rate::Narrow, &[100; 160]);
            }
            recorder.stop(id).unwrap();
            let report = stopped(&mut events);
            assert_eq!((report.why, report.length_ms), (Why::Asked, 1_500));
            assert!(mixed.is_cut());
            for kept in &report.tracks {
                let file = std::fs::metadata(folder.path().join("rec").join(&kept.files[0])).unwrap();
                assert_eq!((file.mode() & 0o777, file.len()), (0o600, kept.octets), "{kept:?}");
                assert_eq!(kept.length_ms, 1_500);
                assert!(kept.files[0].starts_with("4711-2"), "{kept:?}");
            }
            assert_eq!(report.tracks.len(), 2);
        }
        assert_eq!(std::fs::metadata(folder.path().join("rec")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_bridge_stops_and_the_files_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, mut events) = Recorder::start(Config::new(folder.path().to_owned())).unwrap();
        let mut reel = recorder.begin(RecordingId(1), plan(Format::Wav)).unwrap();
        let mut tap = recorder.track(RecordingId(1), Voice::Mixed, Rate::Wide).unwrap();
        (0..10).for_each(|_| {
            reel.tick();
            tap.push(&reel, Rate::Wide, &[7; 320]);
        });
        drop(recorder);
        let report = stopped(&mut events);
        assert_eq!((report.why, report.length_ms), (Why::Closing, 200));
        let file = std::fs::read(folder.path().join(&report.tracks[0].files[0])).unwrap();
        assert_eq!(hound::WavReader::new(&file[..]).unwrap().len(), 3_200);
    }

    #[test]
    fn below_the_floor_nothing_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { floor_octets: u64::MAX, ..Config::new(folder.path().to_owned()) };
        let (recorder, mut events) = Recorder::start(config).unwrap();
        let _reel = recorder.begin(RecordingId(1), plan(Format::Wav)).unwrap();
        let _tap = recorder.track(RecordingId(1), Voice::Mixed, Rate::Wide).unwrap();
        let untracked = Event::Untracked { recording: RecordingId(1), voice: Voice::Mixed };
        assert_eq!(events.blocking_recv(), Some(untracked));
        assert_eq!(stopped(&mut events), Report { why: Why::DiskLow, length_ms: 0, tracks: Vec::new() });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn there_is_an_end_to_recordings_and_room_again_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { most_recordings: 1, ..Config::new(folder.path().to_owned()) };
        let (recorder, mut events) = Recorder::start(config).unwrap();
        let reel = recorder.begin(RecordingId(1), plan(Format::Wav)).unwrap();
        assert_eq!(recorder.begin(RecordingId(2), plan(Format::Wav)).unwrap_err(), Refusal::Full);
        drop(reel);
        assert_eq!(stopped(&mut events).why, Why::Over);
        // The place is free a moment after the word is out.
        while recorder.begin(RecordingId(3), plan(Format::Wav)).is_err() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused_in_words() {
        let said = Recorder::start(Config::new("/dev/null/x".into())).unwrap_err().to_string();
        assert!(said.starts_with("cannot use the folder /dev/null/x for recordings: "), "{said}");
    }

    #[test]
    fn names_sort_as_time_goes() {
        assert_eq!(moment(Wall::from_micros(1_700_000_000_123_456)), "20231114T221320.123Z");
    }
}
