-- Limits on spending count money of grants as they count credits: it is what a call costs, whoever gave it. What running
-- legs hold of it stands beside what they hold of credits, and each record says how much of it counts to its day: NULL
-- where none does, since it was written before.
ALTER TABLE account ADD COLUMN granted_held INTEGER NOT NULL DEFAULT 0 CHECK (granted_held >= 0);
UPDATE account SET granted_held = COALESCE((SELECT CAST(SUM(grants.held) AS BIGINT) FROM grants
WHERE grants.organisation = account.organisation AND grants.unit = 'money'), 0);
ALTER TABLE usage_record ADD COLUMN granted INTEGER CHECK (granted >= 0);

INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'organiser', leg.organiser, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.parts IS NOT NULL AND leg.organiser IS NOT NULL GROUP BY leg.organiser, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'meeting', leg.meeting, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.parts IS NOT NULL AND leg.meeting IS NOT NULL GROUP BY leg.meeting, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
INSERT INTO spend_of (whose, name, currency, day, charged)
SELECT 'carrier', leg.carrier, organisation.currency, '', 0 FROM leg JOIN organisation ON organisation.id = leg.organisation
WHERE leg.state = 'open' AND leg.parts IS NOT NULL AND leg.carrier IS NOT NULL GROUP BY leg.carrier, organisation.currency
ON CONFLICT (whose, name, currency) DO NOTHING;
UPDATE spend_of SET held = held + COALESCE((SELECT CAST(SUM(CAST(value ->> 1 AS BIGINT)) AS BIGINT) FROM leg
JOIN organisation ON organisation.id = leg.organisation JOIN json_each(leg.parts) ON value ->> 0 LIKE 'money:%'
WHERE leg.state = 'open' AND leg.parts IS NOT NULL AND organisation.currency = spend_of.currency
AND ((spend_of.whose = 'organiser' AND leg.organiser = spend_of.name) OR (spend_of.whose = 'meeting' AND leg.meeting = spend_of.name)
OR (spend_of.whose = 'carrier' AND leg.carrier = spend_of.name))), 0)
WHERE EXISTS (SELECT 1 FROM leg WHERE leg.state = 'open' AND leg.parts IS NOT NULL);
