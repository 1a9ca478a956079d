-- Limits against fraud (a JSON object, what is not in it is off), and since when an organisation is known: those that were
-- here before are not new.
ALTER TABLE organisation ADD COLUMN caps TEXT NOT NULL DEFAULT '{}';
ALTER TABLE organisation ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
