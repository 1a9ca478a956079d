-- Decks by the list that they are of: the last of each list is in use. `house` is everybody's.
ALTER TABLE deck ADD COLUMN list TEXT NOT NULL DEFAULT 'house';

-- What an organisation pays by: its own lists (a list of their names), then the house's less its discount, in
-- hundredths of a percent.
ALTER TABLE organisation ADD COLUMN price_lists TEXT NOT NULL DEFAULT '[]';
ALTER TABLE organisation ADD COLUMN discount INTEGER NOT NULL DEFAULT 0 CHECK (discount BETWEEN 0 AND 10000);
ALTER TABLE organisation ADD COLUMN pool_split TEXT NOT NULL DEFAULT 'second' CHECK (pool_split IN ('second', 'increment'));

-- One unit of a currency in another, from a moment until a later rate: billionths.
CREATE TABLE exchange_rate (
    base       TEXT    NOT NULL,
    quote      TEXT    NOT NULL,
    valid_from INTEGER NOT NULL,
    nanos      INTEGER NOT NULL CHECK (nanos > 0),
    PRIMARY KEY (base, quote, valid_from),
    CHECK (base <> quote)
) STRICT;

-- Paid time of a month to a destination, for prices that fall with it: what legs have used and hold.
CREATE TABLE month_use (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    -- The month's first moment.
    month        INTEGER NOT NULL,
    call_type    TEXT    NOT NULL,
    destination  TEXT    NOT NULL,
    used_ms      INTEGER NOT NULL CHECK (used_ms >= 0),
    PRIMARY KEY (organisation, month, call_type, destination)
) STRICT;
