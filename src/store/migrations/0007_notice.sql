-- Whom an organisation wants told, and of what; who is not here is told nothing.
CREATE TABLE alert_setting (
    organisation   TEXT    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    mails          TEXT    NOT NULL,
    webhook        TEXT,
    -- Where the secret is kept, never the secret.
    webhook_secret TEXT,
    low_balance    TEXT,
    low_days       INTEGER CHECK (low_days > 0),
    unusual_spend  INTEGER CHECK (unusual_spend > 1),
    CHECK ((webhook IS NULL) = (webhook_secret IS NULL))
) STRICT;

-- Below what is available money is fetched, how much, and how much a day.
CREATE TABLE recharge_setting (
    organisation  TEXT    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    trigger_below INTEGER NOT NULL CHECK (trigger_below >= 0),
    amount        INTEGER NOT NULL CHECK (amount > 0),
    max_per_day   INTEGER NOT NULL CHECK (max_per_day >= amount),
    hook          TEXT    NOT NULL,
    hook_secret   TEXT    NOT NULL
) STRICT;

-- Thresholds that were told and not left again. `turn` counts how often one was left: it is part of an alert's key, so
-- that a threshold tells once each time.
CREATE TABLE alert_level (
    organisation TEXT    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    turn         INTEGER NOT NULL,
    -- What was available after the last funding: a low balance is a share of it.
    full_balance INTEGER NOT NULL,
    low          INTEGER NOT NULL CHECK (low IN (0, 1)),
    days         INTEGER NOT NULL CHECK (days IN (0, 1)),
    zero         INTEGER NOT NULL CHECK (zero IN (0, 1)),
    -- Percent of the month's pool that was told of.
    pool_month   INTEGER NOT NULL,
    pool_told    INTEGER NOT NULL
) STRICT;

-- What is to be told, written with what caused it, once a key.
CREATE TABLE alert (
    key          TEXT    NOT NULL PRIMARY KEY,
    -- What receivers know a repeat by.
    id           TEXT    NOT NULL UNIQUE,
    organisation TEXT REFERENCES organisation (id),
    kind         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    facts        TEXT    NOT NULL,
    -- Its letters are written.
    posted       INTEGER NOT NULL CHECK (posted IN (0, 1))
) STRICT;
CREATE INDEX alert_waiting ON alert (at) WHERE posted = 0;
CREATE INDEX alert_at ON alert (at);
CREATE INDEX alert_of ON alert (organisation, kind, at);

-- One alert to one target. The owner of a target is an organisation, or '' for the house.
CREATE TABLE letter (
    id         TEXT    NOT NULL PRIMARY KEY,
    alert      TEXT    NOT NULL REFERENCES alert (key),
    owner      TEXT    NOT NULL,
    way        TEXT    NOT NULL CHECK (way IN ('mail', 'webhook')),
    address    TEXT    NOT NULL,
    secret     TEXT,
    state      TEXT    NOT NULL CHECK (state IN ('wanted', 'going', 'sent', 'failed', 'dropped')),
    tries      INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    -- Wanted: not before. Going: whoever carries it is dead by then.
    next_at    INTEGER NOT NULL,
    last_error TEXT
) STRICT;
CREATE INDEX letter_open ON letter (way, address, next_at) WHERE state IN ('wanted', 'going');
CREATE INDEX letter_due ON letter (next_at) WHERE state IN ('wanted', 'going');
CREATE INDEX letter_of ON letter (alert);

-- Webhooks that failed, and how often in a row.
CREATE TABLE hook_state (
    owner    TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    failures INTEGER NOT NULL CHECK (failures >= 0),
    is_off   INTEGER NOT NULL CHECK (is_off IN (0, 1)),
    PRIMARY KEY (owner, address)
) STRICT;

-- Money that was fetched, or tried to be: wanted, asked (perhaps more than once, always under its key), then paid or
-- declined. The key is that of the funding.
CREATE TABLE recharge (
    key          TEXT    NOT NULL PRIMARY KEY,
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    amount       INTEGER NOT NULL CHECK (amount > 0),
    currency     TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('wanted', 'asked', 'paid', 'declined')),
    -- The day of the organisation's calendar, for the cap.
    day          TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    ended        INTEGER,
    last_error   TEXT
) STRICT;
-- One at a time.
CREATE UNIQUE INDEX recharge_running ON recharge (organisation) WHERE state IN ('wanted', 'asked');
CREATE INDEX recharge_due ON recharge (next_at) WHERE state IN ('wanted', 'asked');
CREATE INDEX recharge_on ON recharge (organisation, day);
