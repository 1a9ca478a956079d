-- A carrier with a name in its certificate is known by TLS alone, unless it says otherwise.
ALTER TABLE carrier ADD COLUMN tls_only INTEGER NOT NULL DEFAULT 1 CHECK (tls_only IN (0, 1));
-- Those that were there, and can be known by something else, were known by it too: they are not cut off.
UPDATE carrier SET tls_only = 0
WHERE tls_name IS NOT NULL AND (sources <> '[]' OR digest IS NOT NULL OR register IS NOT NULL);
