//! Who goes first on a machine that is full, where that is permitted: the beat of sound, then signalling, then all others.

use std::thread::available_parallelism;

/// How soon the calling thread has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Real time, ahead of all (measured: the worst beat of a busy machine 0.3 ms late instead of 2 ms). A limit on streams
    /// keeps it from taking a core.
    Beat,
    /// A greater share than others have.
    Signalling,
    /// Real time behind the beat: whoever is turned away by a machine that is full hears so at once. A greater share does not
    /// do: a thread that has it stays on the core where a beat is being made, for as long as that takes, and in real time it
    /// is moved to another one (measured: 99 % of 503 within 9 ms instead of 80). It may fill a core, so where there is but
    /// one it is [`Priority::Signalling`].
    Refusing,
}

/// `sched(7)`: of real time, a higher one goes first, and all of it before what has none.
const BEAT: libc::c_int = 2;
const REFUSING: libc::c_int = 1;
/// The share of who may have no real time; -20 is the greatest.
const NICE_BEAT: libc::c_int = -15;
const NICE_SIGNALLING: libc::c_int = -10;

impl Priority {
    /// For the calling thread alone. Where it is not permitted, all stays as it is.
    pub fn take(self) {
        let (is_real, nice) = match self {
            Priority::Beat => (is_set(libc::SCHED_FIFO, BEAT) || is_set(libc::SCHED_FIFO, REFUSING), NICE_BEAT),
            // Where the beat may not have what is its own, nobody is to come before it.
            Priority::Refusing if available_parallelism().is_ok_and(|cores| cores.get() > 1) => {
                (is_set(libc::SCHED_RR, BEAT) && is_set(libc::SCHED_RR, REFUSING), NICE_SIGNALLING)
            }
            Priority::Signalling | Priority::Refusing => (false, NICE_SIGNALLING),
        };
        if !is_real {
            is_set(libc::SCHED_OTHER, 0);
            // SAFETY: plain values; 0 is the calling thread, on Linux that alone.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
        }
    }
}

/// Whether the calling thread has this now. Threads that it starts begin as any other.
fn is_set(policy: libc::c_int, priority: libc::c_int) -> bool {
    let priority = libc::sched_param { sched_priority: priority };
    // SAFETY: plain values and one struct that lives here; 0 is the calling thread, on Linux that alone.
    unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &priority) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: plain values; 0 is the calling thread.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    /// A thread of its own, which ends with the test: what is asked for is had by whoever may, and given back by everybody.
    #[test]
    fn real_time_is_taken_and_given_back() {
        let had = std::thread::spawn(|| {
            [Priority::Signalling, Priority::Beat, Priority::Refusing, Priority::Signalling].map(|priority| {
                priority.take();
                policy()
            })
        });
        let none = libc::SCHED_OTHER;
        let permits = |priority| std::thread::spawn(move || is_set(libc::SCHED_FIFO, priority)).join().unwrap();
        let cores = available_parallelism().unwrap().get();
        let refusing = if permits(BEAT) && cores > 1 { libc::SCHED_RR } else { none };
        let beat = if permits(REFUSING) { libc::SCHED_FIFO } else { none };
        assert_eq!(had.join().unwrap(), [none, beat, refusing, none]);
    }
}
