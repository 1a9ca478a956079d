-- What legs hold counts towards limits of organisers, meetings and carriers: a running sum, so that a slice costs the same
-- however many legs there are. What was charged before records told their day by the world's calendar is known by its sum
-- alone.
ALTER TABLE spend_of ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0);
ALTER TABLE spend_of ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0 CHECK (earlier >= 0);
ALTER TABLE spend_of ADD COLUMN earlier_day TEXT NOT NULL DEFAULT '';
UPDATE spend_of SET earlier = charged, earlier_day = day;
ALTER TABLE usage_record ADD COLUMN utc_day TEXT;

INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'organiser', leg.organiser, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.organiser IS NOT NULL GROUP BY leg.organiser, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'meeting', leg.meeting, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.meeting IS NOT NULL GROUP BY leg.meeting, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'carrier', leg.carrier, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.carrier IS NOT NULL GROUP BY leg.carrier, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
UPDATE spend_of SET held = COALESCE((SELECT CAST(SUM(leg.credit_held) AS BIGINT) FROM leg
JOIN organisation ON organisation.id = leg.organisation WHERE leg.state = 'open' AND organisation.currency = spend_of.currency
AND ((spend_of.whose = 'organiser' AND leg.organiser = spend_of.name) OR (spend_of.whose = 'meeting' AND leg.meeting = spend_of.name)
OR (spend_of.whose = 'carrier' AND leg.carrier = spend_of.name))), 0);

-- Nobody asks open legs by name any more.
DROP INDEX leg_open_of_organiser;
DROP INDEX leg_open_of_meeting;
DROP INDEX leg_open_of_carrier;
