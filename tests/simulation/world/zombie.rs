//! An old life that goes on beside the new one: somebody took its lock away, and it does not know. Not one row of it is
//! written, whatever it asks, and at its first word it learns that its name is another's.

use super::*;
use tollbridge::rating::record::EndedBy;
use tollbridge::rating::{CallType, Origin};
use tollbridge::store::{Answered, End, Extend, OpenLeg, Revoke};

/// How often it speaks, and how many times.
const HAUNT: Duration = Duration::from_secs(7);
const TIMES: u32 = 12;

impl World {
    /// It dies, or so everybody thinks.
    pub(super) fn goes_on(&mut self) {
        std::fs::remove_file(self.folder.path().join("store.db.lock")).expect("the lock of the books");
        self.zombie = self.store.take();
        self.after(HAUNT, Due::Haunt { left: TIMES });
    }

    /// What it was about when it was taken for dead, and whatever else it may want.
    pub(super) fn haunt(&mut self, left: u32) {
        if self.bridge.is_none() {
            return self.after(HAUNT, Due::Haunt { left });
        }
        let Some(zombie) = self.zombie.clone() else { return };
        let live = self.runtime.block_on(self.store().live_legs()).expect("the books");
        let known = live.first().map_or_else(|| LegId::new(1, 1), |live| live.leg);
        let (house, wall) = (&self.script.houses[0], self.clock().wall);
        let organisation: OrganisationId = house.id.parse().unwrap();
        let said = self.runtime.block_on(async {
            match left % 8 {
                0 => zombie.open_leg(ghost(self.script.meetings[0].id.parse().unwrap(), left, wall)).await.map(drop),
                1 => {
                    let extend =
                        Extend { leg: known, sequence: 900 + left, elapsed_ms: 600_000, proven_ms: 600_000, now: wall };
                    zombie.extend(extend).await.map(drop)
                }
                2 => zombie.settle(known, End::new(Cause::HungUp, EndedBy::FarSide, 0, wall)).await.map(drop),
                3 => zombie.answered(Answered { leg: known, at: wall, journal: None }).await,
                4 => {
                    let funds = Funds {
                        organisation,
                        key: format!("ghost-{left}"),
                        amount: Micros(1_000_000),
                        kind: FundsKind::Funding,
                        memo: "of the dead".into(),
                        at: wall,
                    };
                    zombie.add_credits(funds).await.map(drop)
                }
                5 => zombie.expire(wall.plus_millis(1_000 * 86_400_000)).await.map(drop),
                6 => zombie.report(Report::Paid { key: "recharge:ghost".into() }, wall).await.map(drop),
                _ => {
                    let revoke = Revoke {
                        organisation,
                        dial_out: false,
                        user: None,
                        meeting: None,
                        leg: None,
                        reason: "of the dead".into(),
                        lock: true,
                        ends: None,
                        at: wall,
                    };
                    zombie.revoke(revoke).await.map(drop)
                }
            }
        });
        self.trace.note(self.now, "zombie", &said);
        let is_told = matches!(said, Err(StoreError::Fenced(_)));
        // Where the database is away, nobody is told anything.
        assert!(is_told || said.as_ref().is_err_and(StoreError::is_passing), "{said:?} to a zombie");
        if is_told {
            let knows = self.runtime.block_on(async {
                tokio::select! { biased; () = zombie.taken_over() => true, () = std::future::ready(()) => false }
            });
            assert!(knows, "it goes on, and was told");
            let proven = self.runtime.block_on(zombie.prove_life(vec![(known, 1)]));
            assert!(proven.is_err(), "the proofs of the new life are overwritten");
        }
        self.find_out();
        match left {
            0 => self.zombie = None,
            _ => self.after(HAUNT, Due::Haunt { left: left - 1 }),
        }
    }
}

fn ghost(meeting: MeetingId, n: u32, at: Wall) -> OpenLeg {
    OpenLeg {
        leg: LegId::new(1_000 + u64::from(n), 7),
        call_type: CallType::DialOut,
        number: "+442079460000".parse().unwrap(),
        caller: None,
        origin: Origin::Fixed,
        carrier: None,
        call_id: format!("ghost-{n}"),
        journal: String::new(),
        invited: at,
        meeting: Some(meeting),
    }
}
