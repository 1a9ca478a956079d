//! One line an event, and the names of all counters. Numbers are masked before they come here (`types::E164` masks its
//! own debug form); PINs, digits, tokens and keys are never passed to a log.

use crate::clock::Mono;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: human on a terminal, JSON lines otherwise. `RUST_LOG` overrides `level`.
pub fn start(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A line that cannot be written is lost: telling so on the same closed pipe would be a panic.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    count_panics();
    // A second start (tests run several nodes in one process) keeps the first: the error says just that.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init().is_ok()
    } else {
        builder.json().flatten_event(true).try_init().is_ok()
    };
}

/// A panic is a bug of ours: told, counted, and never swallowed in silence.
fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        metrics::counter!(name::PANICS).increment(1);
        tracing::error!(%panic, "panic");
        usual(panic);
    }));
}

/// Lines a second of refusals, each kind by itself.
pub const REFUSALS_PER_S: u32 = 20;

/// How many lines of one kind there may still be: never more than somebody could read.
#[derive(Debug)]
pub struct Ration {
    most: u32,
    span_s: u64,
    /// The span of time that is counted, by its number.
    span: u64,
    told: u32,
    untold: u64,
}

impl Ration {
    /// So many in `span_s` seconds.
    pub fn new(most: u32, span_s: u64) -> Ration {
        Ration { most, span_s, span: 0, told: 0, untold: 0 }
    }

    /// Whether there is a line for this, and how many before it had none.
    pub fn take(&mut self, now: Mono) -> Option<u64> {
        let span = now.since(Mono::default()).as_secs() / self.span_s;
        if span != self.span {
            (self.span, self.told) = (span, 0);
        }
        if self.told >= self.most {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Names of metrics. One place, so that a dashboard can be checked against it.
pub mod name {
    pub const LEGS: &str = "tollbridge_legs";
    pub const LEGS_ENDED: &str = "tollbridge_legs_ended_total";
    pub const CALLS_REFUSED: &str = "tollbridge_calls_refused_total";
    pub const MEETINGS: &str = "tollbridge_meetings";
    pub const SIP_MESSAGES: &str = "tollbridge_sip_messages_total";
    pub const SIP_DROPPED: &str = "tollbridge_sip_dropped_total";
    /// Calls and transactions that signalling has in hand: both are zero when there is nothing to do.
    pub const SIP_CALLS: &str = "tollbridge_sip_calls";
    pub const SIP_TRANSACTIONS: &str = "tollbridge_sip_transactions";
    /// Bytes of messages kept for `tollbridge trace`.
    pub const SIP_REMEMBERED: &str = "tollbridge_sip_remembered_bytes";
    /// Who watches meetings by SIP; SUBSCRIBEs that were `taken`, `refused`, and `paced`, which is refused for coming too fast; NOTIFYs `sent`, and `failed`: refused or not
    /// answered.
    pub const SIP_SUBSCRIPTIONS: &str = "tollbridge_sip_subscriptions";
    pub const SIP_SUBSCRIBED: &str = "tollbridge_sip_subscribed_total";
    pub const SIP_NOTIFIED: &str = "tollbridge_sip_notified_total";
    /// 1 while the bridge does not keep up, and new calls are turned away.
    pub const SHEDDING: &str = "tollbridge_shedding";
    /// TLS connections that came to nothing before a message.
    pub const SIP_TLS_FAILED: &str = "tollbridge_sip_tls_failed_total";
    /// Requests of carriers that must prove who they are, by what came of it: `asked`, `right`, `wrong`, `stale` and `replayed`
    /// (asked again), `barred`. And requests of ours that were made again with a password.
    pub const SIP_LOGINS: &str = "tollbridge_sip_logins_total";
    pub const SIP_PROOFS: &str = "tollbridge_sip_proofs_total";
    /// REFERs that are under way; those that came in, that were too many (of a call, in a minute, of all), those of whom nobody
    /// wanted to hear how they went, and those that we sent.
    pub const SIP_REFERRALS: &str = "tollbridge_sip_referrals";
    pub const SIP_REFERS: &str = "tollbridge_sip_refers_total";
    /// What became of them, by kind: `add` (somebody is rung), `move` (a caller goes on at another number of ours), `replace`,
    /// `send` (a leg goes elsewhere).
    pub const TRANSFERS: &str = "tollbridge_transfers_total";
    /// Questions that DNS was asked, and names that led nowhere.
    pub const SIP_NAMES_ASKED: &str = "tollbridge_sip_names_asked_total";
    pub const SIP_NAMES_UNFOUND: &str = "tollbridge_sip_names_unfound_total";
    /// Calls in by what is signed of the caller's number: `A`, `B`, `C`, or what is wrong.
    pub const ATTESTATIONS: &str = "tollbridge_attestations_total";
    /// Signatures of calls that were taken up, forgotten for want of room while they are fresh: a replay of one is not noticed.
    pub const SIGNATURES_FORGOTTEN: &str = "tollbridge_signatures_forgotten_total";
    /// Carriers that a call out would have gone by, by what was in the way: `locked`, `down`, `resting`, a limit.
    pub const CARRIERS_PASSED_OVER: &str = "tollbridge_carriers_passed_over_total";
    // What follows is written from the switchboard's own counts, so that what is gone is not shown any more.
    /// Carriers that are asked whether they are there, and those that we register with: 1 or 0, by carrier.
    pub const CARRIER_UP: &str = "tollbridge_carrier_up";
    pub const CARRIER_REGISTERED: &str = "tollbridge_carrier_registered";
    /// By carrier and way: calls now; bids, answers, bids that reached the person, answered calls that are over and their
    /// charged time, bids that rang and the time until then; bids by final response; and what is made of these.
    pub const CARRIER_CALLS: &str = "tollbridge_carrier_calls";
    pub const CARRIER_BIDS: &str = "tollbridge_carrier_bids_total";
    pub const CARRIER_ANSWERS: &str = "tollbridge_carrier_answers_total";
    pub const CARRIER_EFFECTIVE: &str = "tollbridge_carrier_effective_total";
    pub const CARRIER_OVER: &str = "tollbridge_carrier_calls_over_total";
    pub const CARRIER_TALK: &str = "tollbridge_carrier_talk_seconds_total";
    pub const CARRIER_RANG: &str = "tollbridge_carrier_rings_total";
    pub const CARRIER_RING_DELAY: &str = "tollbridge_carrier_ring_delay_seconds_total";
    pub const CARRIER_CODES: &str = "tollbridge_carrier_codes_total";
    pub const CARRIER_ASR: &str = "tollbridge_carrier_asr_ratio";
    pub const CARRIER_NER: &str = "tollbridge_carrier_ner_ratio";
    pub const CARRIER_ACD: &str = "tollbridge_carrier_acd_seconds";
    pub const CARRIER_PDD: &str = "tollbridge_carrier_pdd_seconds";
    pub const RTP_PACKETS: &str = "tollbridge_rtp_packets_total";
    pub const RTP_DROPPED: &str = "tollbridge_rtp_dropped_total";
    /// Pairs of ports, by `state`: `free`, `lent`, or `resting` after a call.
    pub const RTP_PORTS: &str = "tollbridge_rtp_ports";
    pub const RTCP_PACKETS: &str = "tollbridge_rtcp_packets_total";
    /// Recordings that ended, by how: `whole`, or `broken` by the disk.
    pub const RECORDINGS: &str = "tollbridge_recordings_total";
    /// Legs whose sound goes one way only, by carrier and by the way that is missing.
    pub const ONE_WAY: &str = "tollbridge_one_way_audio_total";
    /// Of legs that ended, by carrier: mean opinion (1 to 5), share lost (0 to 1), jitter (seconds).
    pub const LEG_MOS: &str = "tollbridge_leg_mos";
    pub const LEG_LOSS: &str = "tollbridge_leg_loss";
    pub const LEG_JITTER: &str = "tollbridge_leg_jitter_seconds";
    pub const TICK_LATE: &str = "tollbridge_tick_late_total";
    pub const MIXER_PANICS: &str = "tollbridge_mixer_panics_total";
    pub const STORE_COMMITS: &str = "tollbridge_store_commits_total";
    pub const STORE_FAULTS: &str = "tollbridge_store_faults_total";
    /// Holds that were refused because the database did not answer; and legs with a request that waits for the books.
    pub const HOLDS_UNASKED: &str = "tollbridge_holds_unasked_total";
    pub const BOOKS_WAITING: &str = "tollbridge_books_waiting";
    /// Calls of earlier lives that were closed too long ago, or were too many, to be ended.
    pub const DIALOGS_LET_GO: &str = "tollbridge_dialogs_let_go_total";
    /// Days on which what is too old could not be emptied.
    pub const RETENTION_FAILED: &str = "tollbridge_retention_failed_total";
    /// Audits that could not be finished.
    pub const AUDIT_FAILED: &str = "tollbridge_audit_failed_total";
    /// What the last audit found.
    pub const AUDIT_DIFFERENCES: &str = "tollbridge_audit_differences";
    pub const API_CONNECTIONS: &str = "tollbridge_api_connections";
    pub const API_DROPPED: &str = "tollbridge_api_dropped_total";
    /// Requests that were not let through: `unknown` token, one that is `expired` or `revoked`, `elsewhere` (another
    /// organisation's page, or the house's), `role`.
    pub const API_REFUSED: &str = "tollbridge_api_refused_total";
    /// Those of them that the trail tells only together with others, by whose they are: of `strangers`, since too many
    /// addresses came within the hour; of one `token` from too many addresses; of too many `tokens`.
    pub const API_REFUSED_TOGETHER: &str = "tollbridge_api_refused_together_total";
    /// Alerts and payments that were tried, by way (`mail`, `webhook`, `payment`) and what came of it.
    pub const NOTICES: &str = "tollbridge_notices_total";
    /// Alerts written, by kind; and those that were not, since too many wait.
    pub const ALERTS: &str = "tollbridge_alerts_total";
    pub const ALERTS_DROPPED: &str = "tollbridge_alerts_dropped_total";
    /// Callers, blocks of numbers and their like that the watch for fraud forgot for want of room.
    pub const PATTERNS_FORGOTTEN: &str = "tollbridge_patterns_forgotten_total";
    /// Calls to numbers known from fraud (`out`), and by callers with such numbers (`in`).
    pub const HOT_CALLS: &str = "tollbridge_hot_calls_total";
    pub const PANICS: &str = "tollbridge_panics_total";
}
