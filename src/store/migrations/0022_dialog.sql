-- Calls whose account is closed and that a BYE is still to end: those that a dead life of a node left, whoever closed them.
-- A row is gone when its node's next life has sent it.
CREATE TABLE dialog (
    leg       TEXT    NOT NULL PRIMARY KEY REFERENCES leg (id),
    node      TEXT    NOT NULL,
    call_type TEXT    NOT NULL,
    -- Credits paid for it: ended first.
    is_paid   INTEGER NOT NULL CHECK (is_paid IN (0, 1)),
    -- SIP's own line.
    journal   TEXT    NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX dialog_of ON dialog (node);
