-- Carriers' files that were compared with our legs, each once, by the hash of the carrier and the file: what came of it.
CREATE TABLE reconciliation (
    hash        TEXT    NOT NULL PRIMARY KEY,
    carrier     TEXT    NOT NULL,
    file        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    theirs      INTEGER NOT NULL CHECK (theirs >= 0),
    matched     INTEGER NOT NULL CHECK (matched >= 0),
    differences INTEGER NOT NULL CHECK (differences >= 0)
) STRICT;

-- Legs that a file has charged: another file that charges one of them again does so twice.
CREATE TABLE reconciled (
    leg  TEXT NOT NULL PRIMARY KEY REFERENCES leg (id),
    hash TEXT NOT NULL REFERENCES reconciliation (hash)
) STRICT;
