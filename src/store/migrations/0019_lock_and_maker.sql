-- Who put a lock: the house, which alone lifts its own, or the organisation. Locks of before are the house's.
ALTER TABLE organisation ADD COLUMN locked_by TEXT CHECK (locked_by IN ('house', 'organisation'));
ALTER TABLE organiser ADD COLUMN locked_by TEXT CHECK (locked_by IN ('house', 'organisation'));
UPDATE organisation SET locked_by = 'house' WHERE locked IS NOT NULL;
UPDATE organiser SET locked_by = 'house' WHERE locked IS NOT NULL;

-- The token that made it, with which it ends; NULL: the house, by its own hand.
ALTER TABLE token ADD COLUMN maker TEXT;
