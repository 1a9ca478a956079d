-- Who changed what, and when. Never changed; each row's hash covers the one before.
CREATE TABLE trail (
    sequence     INTEGER NOT NULL PRIMARY KEY CHECK (sequence >= 0),
    at           INTEGER NOT NULL,
    who          TEXT    NOT NULL,
    -- By which way they came in.
    door         TEXT    NOT NULL CHECK (door IN ('bridge', 'cli', 'api')),
    verb         TEXT    NOT NULL,
    what         TEXT    NOT NULL,
    -- Whose it is, where it is one organisation's.
    organisation TEXT,
    -- JSON, without secrets.
    detail       TEXT    NOT NULL,
    hash         TEXT    NOT NULL
) STRICT;
CREATE INDEX trail_of ON trail (organisation, sequence);
CREATE TRIGGER trail_is_not_changed BEFORE UPDATE ON trail
BEGIN SELECT RAISE(ABORT, 'the trail is never changed'); END;
CREATE TRIGGER trail_is_not_removed BEFORE DELETE ON trail
BEGIN SELECT RAISE(ABORT, 'the trail is never removed'); END;
