-- The path of the money: what each entry took out of which funding, or gave back to it. What no funding covered is drawn
-- from the overdraft, whose name is empty. Never changed.
CREATE TABLE draw (
    -- The ledger's entry.
    key     TEXT    NOT NULL,
    funding TEXT    NOT NULL,
    -- Out of the funding; below zero, back into it.
    amount  INTEGER NOT NULL CHECK (amount <> 0),
    -- The leg that it paid.
    leg     TEXT REFERENCES leg (id),
    -- The funding had expired: until then it is open again.
    expires INTEGER,
    PRIMARY KEY (key, funding)
) STRICT;
CREATE INDEX draw_of_funding ON draw (funding);
CREATE INDEX draw_of_leg ON draw (leg) WHERE leg IS NOT NULL;
CREATE TRIGGER draw_is_not_changed BEFORE UPDATE ON draw
BEGIN SELECT RAISE(ABORT, 'draws are never changed'); END;
CREATE TRIGGER draw_is_not_removed BEFORE DELETE ON draw
BEGIN SELECT RAISE(ABORT, 'draws are never removed'); END;

-- What was drawn before draws were kept is known by its sum alone; entries up to here have none of their own.
INSERT INTO draw (key, funding, amount) SELECT 'before:' || key, key, amount - remaining FROM funding WHERE remaining < amount;
INSERT INTO draw (key, funding, amount) SELECT 'before:/' || organisation, '', 0 - posted FROM account WHERE posted < 0;
ALTER TABLE account ADD COLUMN undrawn INTEGER NOT NULL DEFAULT 0 CHECK (undrawn >= 0);
UPDATE account SET undrawn = entries;

-- How many days a funding that had expired is open again when money comes back to it; 0: it comes back as a new one.
ALTER TABLE organisation ADD COLUMN refund_days INTEGER NOT NULL DEFAULT 30 CHECK (refund_days BETWEEN 0 AND 3660);

-- Which day's spending a leg counts to, and what of a day's spending was counted before that was kept.
ALTER TABLE usage_record ADD COLUMN day TEXT;
ALTER TABLE spend ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0 CHECK (earlier >= 0);
UPDATE spend SET earlier = charged;

-- Further entries to a usage record, which itself is never changed: money, pool time and minutes of the month over what
-- stood before; below zero, given back.
CREATE TABLE correction (
    -- The asker's.
    key          TEXT    NOT NULL PRIMARY KEY,
    leg          TEXT    NOT NULL REFERENCES usage_record (leg),
    number       INTEGER NOT NULL CHECK (number > 0),
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('refund', 're-rate')),
    request      TEXT    NOT NULL,
    amount       INTEGER NOT NULL,
    pool_ms      INTEGER NOT NULL CHECK (pool_ms <= 0),
    month_ms     INTEGER NOT NULL CHECK (month_ms <= 0),
    day          TEXT,
    at           INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    -- Of a leg that was priced again: its price now, and by which terms.
    price        INTEGER CHECK (price >= 0),
    terms        TEXT,
    UNIQUE (leg, number),
    CHECK ((kind = 're-rate') = (price IS NOT NULL AND terms IS NOT NULL))
) STRICT;
CREATE INDEX correction_of ON correction (organisation, at);
CREATE TRIGGER correction_is_not_changed BEFORE UPDATE ON correction
BEGIN SELECT RAISE(ABORT, 'corrections are never changed'); END;
CREATE TRIGGER correction_is_not_removed BEFORE DELETE ON correction
BEGIN SELECT RAISE(ABORT, 'corrections are never removed'); END;
