-- Limits on a day's spending beside the organisation's: what each organiser, meeting and carrier has used on its latest
-- day, by currency.
ALTER TABLE carrier ADD COLUMN max_spend_per_day INTEGER;
CREATE TABLE spend_of (
    whose    TEXT    NOT NULL CHECK (whose IN ('organiser', 'meeting', 'carrier')),
    name     TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    day      TEXT    NOT NULL,
    charged  INTEGER NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (whose, name, currency)
) STRICT;
