-- A carrier's limit a day that was raised and whose raise waits: until then the one from before holds, in millionths.
CREATE TABLE held_carrier_limit (
    carrier TEXT    NOT NULL PRIMARY KEY REFERENCES carrier (id),
    amount  INTEGER NOT NULL CHECK (amount >= 0),
    until   INTEGER NOT NULL
) STRICT;
