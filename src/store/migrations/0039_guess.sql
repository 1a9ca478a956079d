-- Wrong conference IDs and PINs as a node's brakes count them, and who is known at which meeting: a restart is no amnesty.
-- Rows of a day at most, and no part of the books: no copy has them.
CREATE TABLE guess (
    node    TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('caller', 'withheld', 'meeting', 'carrier', 'slip', 'overall', 'friend', 'named')),
    -- A number, or the carrier: of those who withhold theirs, or of all its calls that name their meeting; or nobody.
    who     TEXT    NOT NULL,
    meeting TEXT    NOT NULL,
    -- A JSON list, the earliest first.
    moments TEXT    NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (node, kind, who, meeting)
) STRICT;
CREATE INDEX guess_by_age ON guess (last);
CREATE INDEX guess_of ON guess (who);
