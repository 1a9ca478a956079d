-- Licences may be held on some days alone, the first and the last of the organisation's calendar among them.
ALTER TABLE licence ADD COLUMN first_day TEXT;
ALTER TABLE licence ADD COLUMN last_day TEXT;

-- How many of a licence an organisation has bought; what is not here is not counted.
CREATE TABLE seat (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    kind         TEXT    NOT NULL,
    bought       INTEGER NOT NULL CHECK (bought >= 0),
    PRIMARY KEY (organisation, kind)
) STRICT;
