-- Who writes here. A life is counted up whenever a process takes the name of a node; what an earlier life of that name
-- still sends is refused, wherever it was stopped and for however long.
CREATE TABLE node (
    name  TEXT    NOT NULL PRIMARY KEY,
    life  INTEGER NOT NULL CHECK (life > 0),
    since INTEGER NOT NULL
) STRICT;
INSERT INTO node (name, life, since) SELECT node, MAX(life), 0 FROM leg GROUP BY node;
