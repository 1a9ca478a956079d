-- The books, first edition. Money is whole millionths of a currency unit, moments are microseconds since 1970 (UTC),
-- measured time is milliseconds. Words, not numbers, name states. Lists are JSON texts.

-- ---------------------------------------------------------------------------------------------- who and what there is

CREATE TABLE organisation (
    id                      TEXT    NOT NULL PRIMARY KEY,
    name                    TEXT    NOT NULL,
    country                 TEXT    NOT NULL,
    currency                TEXT    NOT NULL,
    volume_licensing        INTEGER NOT NULL CHECK (volume_licensing IN (0, 1)),
    require_credits_licence INTEGER NOT NULL CHECK (require_credits_licence IN (0, 1)),
    on_empty                TEXT    NOT NULL CHECK (on_empty IN ('cut', 'finish')),
    overdraft               INTEGER NOT NULL CHECK (overdraft >= 0),
    time_zone               TEXT    NOT NULL,
    allow_prefixes          TEXT    NOT NULL,
    max_calls               INTEGER,
    max_calls_per_second    INTEGER,
    max_call_s              INTEGER,
    max_spend_per_day       INTEGER,
    max_spend_per_leg       INTEGER
) STRICT;

CREATE TABLE organiser (
    id           TEXT    NOT NULL PRIMARY KEY,
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    name         TEXT    NOT NULL,
    country      TEXT,
    dial_out     TEXT    NOT NULL,
    toll_free    INTEGER NOT NULL CHECK (toll_free IN (0, 1)),
    -- A keyed hash; the key is not in the store.
    pin          TEXT
) STRICT;
CREATE INDEX organiser_of ON organiser (organisation);

CREATE TABLE licence (
    organiser TEXT NOT NULL REFERENCES organiser (id),
    kind      TEXT NOT NULL,
    PRIMARY KEY (organiser, kind)
) STRICT;

CREATE TABLE meeting (
    id            TEXT NOT NULL PRIMARY KEY,
    organiser     TEXT NOT NULL REFERENCES organiser (id),
    conference_id TEXT NOT NULL UNIQUE,
    settings      TEXT NOT NULL
) STRICT;

CREATE TABLE number (
    e164         TEXT NOT NULL PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('toll', 'toll-free')),
    country      TEXT NOT NULL,
    city         TEXT,
    languages    TEXT NOT NULL,
    organisation TEXT REFERENCES organisation (id),
    meeting      TEXT REFERENCES meeting (id),
    alias        TEXT UNIQUE
) STRICT;

CREATE TABLE carrier (
    id                   TEXT    NOT NULL PRIMARY KEY,
    sources              TEXT    NOT NULL,
    route                TEXT,
    codecs               TEXT    NOT NULL,
    max_calls            INTEGER,
    max_calls_per_second INTEGER,
    number_format_in     TEXT    NOT NULL,
    number_format_out    TEXT    NOT NULL,
    called_from          TEXT    NOT NULL,
    advertise            TEXT,
    old_syntax           INTEGER NOT NULL CHECK (old_syntax IN (0, 1)),
    failure_map          TEXT    NOT NULL
) STRICT;

-- Over the table inside the binary.
CREATE TABLE country (
    code              TEXT    NOT NULL PRIMARY KEY,
    service_sold      INTEGER NOT NULL CHECK (service_sold IN (0, 1)),
    automatic_numbers INTEGER NOT NULL CHECK (automatic_numbers IN (0, 1)),
    toll              INTEGER NOT NULL CHECK (toll IN (0, 1)),
    toll_free         INTEGER NOT NULL CHECK (toll_free IN (0, 1)),
    dial_out          INTEGER NOT NULL CHECK (dial_out IN (0, 1)),
    credits_sold      INTEGER NOT NULL CHECK (credits_sold IN (0, 1)),
    zone_a            INTEGER NOT NULL CHECK (zone_a IN (0, 1))
) STRICT;

-- Decks as they were imported, whole; the last one is in use. A record's price can be worked out again years later.
CREATE TABLE deck (
    edition  INTEGER NOT NULL PRIMARY KEY,
    version  TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    csv      TEXT    NOT NULL,
    imported INTEGER NOT NULL
) STRICT;

-- --------------------------------------------------------------------------------------------------------------- money

-- One prepaid balance an organisation. What runs cannot take it below zero (or the overdraft agreed): the CHECK stands
-- behind every conditional UPDATE.
CREATE TABLE account (
    organisation TEXT    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    posted       INTEGER NOT NULL DEFAULT 0,
    held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    overdraft    INTEGER NOT NULL DEFAULT 0 CHECK (overdraft >= 0),
    -- Billionths a minute that live legs funded by credits use together.
    burn_nanos   INTEGER NOT NULL DEFAULT 0 CHECK (burn_nanos >= 0),
    -- How many entries the ledger has, and the hash of the last.
    entries      INTEGER NOT NULL DEFAULT 0 CHECK (entries >= 0),
    head         TEXT    NOT NULL,
    CHECK (posted - held >= -overdraft)
) STRICT;

-- Dated fundings, used first in, first out.
CREATE TABLE funding (
    key          TEXT    NOT NULL PRIMARY KEY,
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    amount       INTEGER NOT NULL CHECK (amount > 0),
    remaining    INTEGER NOT NULL CHECK (remaining >= 0 AND remaining <= amount),
    at           INTEGER NOT NULL,
    expires      INTEGER NOT NULL
) STRICT;
CREATE INDEX funding_in_order ON funding (organisation, expires, key) WHERE remaining > 0;

-- Minutes included, a calendar month in the organisation's zone.
CREATE TABLE pool (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    -- The month's first moment.
    month        INTEGER NOT NULL,
    granted_ms   INTEGER NOT NULL CHECK (granted_ms >= 0),
    used_ms      INTEGER NOT NULL DEFAULT 0 CHECK (used_ms >= 0),
    held_ms      INTEGER NOT NULL DEFAULT 0 CHECK (held_ms >= 0),
    PRIMARY KEY (organisation, month),
    CHECK (used_ms + held_ms <= granted_ms)
) STRICT;

-- What was charged on a day of the organisation's calendar, for its limit a day.
CREATE TABLE spend (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    day          TEXT    NOT NULL,
    charged      INTEGER NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (organisation, day)
) STRICT;

-- Double entry: an amount goes out of one account of the organisation's books into another, so that all sums are zero.
-- Never changed; hashes chain the entries of an organisation.
CREATE TABLE ledger_entry (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    sequence     INTEGER NOT NULL CHECK (sequence >= 0),
    key          TEXT    NOT NULL UNIQUE,
    debit        TEXT    NOT NULL,
    credit       TEXT    NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    currency     TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    memo         TEXT    NOT NULL,
    hash         TEXT    NOT NULL,
    PRIMARY KEY (organisation, sequence),
    CHECK (debit <> credit)
) STRICT;
CREATE TRIGGER ledger_entry_is_not_changed BEFORE UPDATE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_entry_is_not_removed BEFORE DELETE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never removed'); END;

-- ---------------------------------------------------------------------------------------------------------------- legs

-- The journal of legs: enough to go on, to settle after a crash, and to end the dialog.
CREATE TABLE leg (
    id             TEXT    NOT NULL PRIMARY KEY,
    state          TEXT    NOT NULL CHECK (state IN ('open', 'settled')),
    node           TEXT    NOT NULL,
    -- Counted up at each start: open legs of an earlier one are orphans.
    life           INTEGER NOT NULL,
    call_type      TEXT    NOT NULL,
    number         TEXT    NOT NULL,
    caller         TEXT,
    carrier        TEXT,
    call_id        TEXT    NOT NULL,
    journal        TEXT    NOT NULL,
    invited        INTEGER NOT NULL,
    answered       INTEGER,
    payer_known    INTEGER,
    elapsed_ms     INTEGER NOT NULL DEFAULT 0 CHECK (elapsed_ms >= 0),
    -- The payer, where known.
    organisation   TEXT REFERENCES organisation (id),
    organiser      TEXT REFERENCES organiser (id),
    meeting        TEXT REFERENCES meeting (id),
    -- The tab, where granted.
    terms          TEXT,
    pool_month     INTEGER,
    held_until_ms  INTEGER NOT NULL DEFAULT 0 CHECK (held_until_ms >= 0),
    credit_held    INTEGER NOT NULL DEFAULT 0 CHECK (credit_held >= 0),
    pool_held_ms   INTEGER NOT NULL DEFAULT 0 CHECK (pool_held_ms >= 0),
    burn_nanos     INTEGER NOT NULL DEFAULT 0 CHECK (burn_nanos >= 0),
    sequence       INTEGER NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    is_final       INTEGER NOT NULL DEFAULT 0 CHECK (is_final IN (0, 1))
) STRICT;
CREATE INDEX leg_open ON leg (state) WHERE state = 'open';

-- Every answer that a leg was given: the key (leg, step) makes a repeat harmless. What it took stands beside it.
CREATE TABLE hold (
    leg       TEXT    NOT NULL REFERENCES leg (id),
    step      TEXT    NOT NULL,
    request   TEXT    NOT NULL,
    outcome   TEXT    NOT NULL CHECK (outcome IN ('granted', 'refused', 'no-payer')),
    cause     TEXT,
    funding   TEXT,
    credit    INTEGER NOT NULL CHECK (credit >= 0),
    pool_ms   INTEGER NOT NULL CHECK (pool_ms >= 0),
    until_ms  INTEGER NOT NULL CHECK (until_ms >= 0),
    is_final  INTEGER NOT NULL CHECK (is_final IN (0, 1)),
    funded_ms INTEGER,
    PRIMARY KEY (leg, step)
) STRICT;

-- One record a leg, never changed: the record as it was made, and beside it what questions are asked by and what the
-- audit works the price out from again.
CREATE TABLE usage_record (
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
CREATE INDEX usage_record_at ON usage_record (at);
CREATE INDEX usage_record_of ON usage_record (organisation, at);
CREATE TRIGGER usage_record_is_not_changed BEFORE UPDATE ON usage_record
BEGIN SELECT RAISE(ABORT, 'usage records are never changed'); END;
CREATE TRIGGER usage_record_is_not_removed BEFORE DELETE ON usage_record
BEGIN SELECT RAISE(ABORT, 'usage records are never removed'); END;
