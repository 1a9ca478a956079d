-- Limits that were raised and whose raise waits: until then the limit from before holds (of a share of the day, percent;
-- else millionths).
CREATE TABLE held_limit (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    name         TEXT    NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    until        INTEGER NOT NULL,
    PRIMARY KEY (organisation, name)
) STRICT;
