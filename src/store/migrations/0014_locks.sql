-- Whoever is locked has no calls, and why, in the words of who locked them; NULL is open.
ALTER TABLE organisation ADD COLUMN locked TEXT;
ALTER TABLE organiser ADD COLUMN locked TEXT;
