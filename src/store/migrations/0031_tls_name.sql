-- The name in a carrier's certificate.
ALTER TABLE carrier ADD COLUMN tls_name TEXT;
