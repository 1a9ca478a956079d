-- Grants beside the monthly pool: seconds (in milliseconds) or money. The table has the plural, since `grant` is a word of
-- SQL's own.
CREATE TABLE grants (
    id           TEXT    NOT NULL PRIMARY KEY,
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    unit         TEXT    NOT NULL CHECK (unit IN ('seconds', 'money')),
    source       TEXT    NOT NULL CHECK (source IN ('promo', 'paid')),
    amount       INTEGER NOT NULL CHECK (amount > 0),
    used         INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
    held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    -- What it had left when it was over.
    lapsed       INTEGER NOT NULL DEFAULT 0 CHECK (lapsed >= 0),
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 65535),
    valid_from   INTEGER NOT NULL,
    valid_until  INTEGER,
    -- Which calls it pays, as JSON.
    filter       TEXT    NOT NULL,
    created      INTEGER NOT NULL,
    memo         TEXT    NOT NULL,
    CHECK (used + held + lapsed <= amount)
) STRICT;
CREATE INDEX grants_of ON grants (organisation);

-- What each leg used of a grant, what came back to it since, and what lapsed. Never changed. Of money, the ledger has an
-- entry of the same key.
CREATE TABLE grant_use (
    key      TEXT    NOT NULL PRIMARY KEY,
    grant_id TEXT    NOT NULL REFERENCES grants (id),
    kind     TEXT    NOT NULL CHECK (kind IN ('use', 'correction', 'lapse')),
    leg      TEXT REFERENCES leg (id),
    -- Out of the grant; below zero, back into it.
    amount   INTEGER NOT NULL CHECK (amount <> 0),
    at       INTEGER NOT NULL,
    -- The grant was over: until then it is open again.
    reopened INTEGER,
    CHECK ((kind = 'correction') = (amount < 0)),
    CHECK ((kind = 'lapse') = (leg IS NULL))
) STRICT;
CREATE INDEX grant_use_of_grant ON grant_use (grant_id);
CREATE INDEX grant_use_of_leg ON grant_use (leg) WHERE leg IS NOT NULL;
CREATE TRIGGER grant_use_is_not_changed BEFORE UPDATE ON grant_use
BEGIN SELECT RAISE(ABORT, 'uses of grants are never changed'); END;
CREATE TRIGGER grant_use_is_not_removed BEFORE DELETE ON grant_use
BEGIN SELECT RAISE(ABORT, 'uses of grants are never removed'); END;

-- All parts that a leg holds, and that a step took, in the order of use; NULL where no grant is among them, and the columns
-- of credit and pool say it all.
ALTER TABLE leg ADD COLUMN parts TEXT;
ALTER TABLE hold ADD COLUMN parts TEXT;
