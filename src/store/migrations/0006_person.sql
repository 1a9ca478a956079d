-- What of a record tells who it was stands apart from what it cost: it may be emptied, and the record stays as it was
-- made. Each such word stands here and nowhere else once a leg is over.
CREATE TABLE person (
    leg           TEXT NOT NULL PRIMARY KEY REFERENCES leg (id),
    -- The outside party's: the caller's of a call in, the number called of a call out.
    number        TEXT,
    call_id       TEXT NOT NULL,
    conference_id TEXT,
    organiser     TEXT,
    principal     TEXT NOT NULL,
    name          TEXT NOT NULL
) STRICT;

-- Takes the place of usage_record when what was in it is parted.
CREATE TABLE usage_record_apart (
    leg           TEXT    NOT NULL PRIMARY KEY REFERENCES leg (id),
    organisation  TEXT,
    at            INTEGER NOT NULL,
    elapsed_ms    INTEGER NOT NULL CHECK (elapsed_ms >= 0),
    credit_held   INTEGER NOT NULL CHECK (credit_held >= 0),
    charge        INTEGER NOT NULL CHECK (charge >= 0),
    pool_held_ms  INTEGER NOT NULL CHECK (pool_held_ms >= 0),
    pool_used_ms  INTEGER NOT NULL CHECK (pool_used_ms >= 0),
    record        TEXT    NOT NULL,
    CHECK (charge <= credit_held),
    CHECK (pool_used_ms <= pool_held_ms)
) STRICT;
