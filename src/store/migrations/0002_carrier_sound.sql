-- How a carrier's sound comes: encrypted or not, and whether from where it was signalled.
ALTER TABLE carrier ADD COLUMN srtp TEXT NOT NULL DEFAULT 'off' CHECK (srtp IN ('off', 'offered', 'required'));
ALTER TABLE carrier ADD COLUMN learn_source INTEGER NOT NULL DEFAULT 0 CHECK (learn_source IN (0, 1));
