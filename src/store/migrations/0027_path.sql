-- A refund of a stated amount goes back along the path of the leg's money, grants among it. What was booked before was of
-- the credits alone.
ALTER TABLE correction ADD COLUMN by_path INTEGER NOT NULL DEFAULT 0 CHECK (by_path IN (0, 1));
