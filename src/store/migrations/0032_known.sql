-- By what a carrier and we know each other beside its address: a name and where the password is, our registration with it
-- (JSON, in the keys of a file), and how often it is asked whether it is there.
ALTER TABLE carrier ADD COLUMN digest TEXT;
ALTER TABLE carrier ADD COLUMN register TEXT;
ALTER TABLE carrier ADD COLUMN ping_s INTEGER;
