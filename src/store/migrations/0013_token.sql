-- Who may ask the API: each has a name (which the trail tells), a role, and perhaps one organisation and an end. The token
-- itself is nowhere: it has 256 random bits, so that a plain hash gives nothing of it away.
CREATE TABLE token (
    name         TEXT    NOT NULL PRIMARY KEY,
    hash         TEXT    NOT NULL UNIQUE,
    role         TEXT    NOT NULL CHECK (role IN ('operator', 'admin', 'billing', 'reader')),
    organisation TEXT REFERENCES organisation (id),
    created      INTEGER NOT NULL,
    expires      INTEGER,
    -- When it was taken back: its name is never another's.
    revoked      INTEGER
) STRICT;

-- In which role they came: what is older has none.
ALTER TABLE trail ADD COLUMN role TEXT;
