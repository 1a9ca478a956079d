-- Numbers that thieves are known to call, or the first digits of many: lists by their names, each as it was last brought
-- in or changed.
CREATE TABLE hot_number (
    list   TEXT    NOT NULL,
    prefix TEXT    NOT NULL,
    note   TEXT    NOT NULL,
    since  INTEGER NOT NULL,
    PRIMARY KEY (list, prefix)
) STRICT;
CREATE INDEX hot_number_by_prefix ON hot_number (prefix, list);

-- Where an organisation calls no more for a day, since somebody of it called such a number: a country, or at home a block
-- of numbers. The number is masked: the leg's record has it, as long as it may.
CREATE TABLE dial_block (
    organisation TEXT    NOT NULL REFERENCES organisation (id),
    destination  TEXT    NOT NULL,
    since        INTEGER NOT NULL,
    until        INTEGER NOT NULL CHECK (until > since),
    number       TEXT    NOT NULL,
    leg          TEXT    NOT NULL,
    PRIMARY KEY (organisation, destination)
) STRICT;

-- Which edition of each of the two is the newest: nodes that share the books see by it that theirs is old.
CREATE TABLE hot_edition (
    what    TEXT    NOT NULL PRIMARY KEY CHECK (what IN ('list', 'block')),
    edition INTEGER NOT NULL
) STRICT;
