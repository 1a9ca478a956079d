-- Which key the PINs in these books were hashed with: its fingerprint, never the key. Without it a PIN that fits is refused,
-- and nobody knows why.
CREATE TABLE pin_key (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    fingerprint TEXT    NOT NULL
) STRICT;
