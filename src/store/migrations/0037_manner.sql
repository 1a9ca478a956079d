-- How a carrier likes things (when it has its turn, what it means by its answers, how it is believed): JSON in the keys of a
-- file. What is not named in it is as the settings leave it.
ALTER TABLE carrier ADD COLUMN manner TEXT NOT NULL DEFAULT '{}';
-- Carriers that were there were believed in what they say of a caller, and told it: they still are, until they are written
-- anew. New ones say so themselves.
UPDATE carrier SET manner = '{"trusted_identity":true}';
