-- A carrier's limit outlives it for a while: whoever makes it again cannot have another sooner than by raising it. So the row
-- does not need the carrier.
CREATE TABLE left_carrier_limit (
    carrier TEXT    NOT NULL PRIMARY KEY,
    amount  INTEGER NOT NULL CHECK (amount >= 0),
    until   INTEGER NOT NULL
) STRICT;
INSERT INTO left_carrier_limit (carrier, amount, until) SELECT carrier, amount, until FROM held_carrier_limit;
DROP TABLE held_carrier_limit;
ALTER TABLE left_carrier_limit RENAME TO held_carrier_limit;
