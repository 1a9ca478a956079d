-- What running legs burn a minute of the grant that pays them now: by it the last of a grant is shared out among them.
ALTER TABLE grants ADD COLUMN burn_nanos INTEGER NOT NULL DEFAULT 0;
UPDATE grants SET burn_nanos = COALESCE((SELECT CAST(SUM(CASE WHEN grants.unit = 'seconds' THEN 60000000 ELSE leg.burn_nanos END)
AS BIGINT) FROM leg WHERE leg.state = 'open' AND leg.organisation = grants.organisation
AND leg.parts LIKE '%["' || grants.unit || ':' || REPLACE(grants.id, '_', '!_') || '",%' ESCAPE '!'
AND leg.parts NOT LIKE '%["' || grants.unit || ':' || REPLACE(grants.id, '_', '!_') || '",%],[%' ESCAPE '!'), 0)
WHERE grants.held > 0;
