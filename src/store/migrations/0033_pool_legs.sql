-- How many running legs the pool pays now: by it the last of the pool is shared out among them.
ALTER TABLE pool ADD COLUMN legs INTEGER NOT NULL DEFAULT 0 CHECK (legs >= 0);
UPDATE pool SET legs = (SELECT COUNT(*) FROM leg WHERE leg.state = 'open' AND leg.organisation = pool.organisation
AND leg.pool_month = pool.month AND leg.pool_held_ms > 0 AND (leg.parts IS NULL AND leg.credit_held = 0
OR RTRIM(leg.parts, '0123456789]') LIKE '%["pool",'))
WHERE held_ms > 0;
