-- The organiser's own legs, known by their PIN: paid first where money is short.
ALTER TABLE leg ADD COLUMN leads INTEGER NOT NULL DEFAULT 0 CHECK (leads IN (0, 1));
