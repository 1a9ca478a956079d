-- A locked carrier has no new calls, either way, and why; NULL is open. What becomes of those that run is its own choice.
ALTER TABLE carrier ADD COLUMN locked TEXT;
ALTER TABLE carrier ADD COLUMN on_lock TEXT NOT NULL DEFAULT 'cut';
