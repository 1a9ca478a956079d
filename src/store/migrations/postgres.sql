-- What PostgreSQL has to be given before the editions, which are written for SQLite: see Kind::schema in sql.rs.

-- Of rows that are written once.
CREATE FUNCTION is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- The items of a JSON list, a row each: what SQLite has under this name.
CREATE FUNCTION json_each(items TEXT) RETURNS TABLE (value JSONB) LANGUAGE sql IMMUTABLE AS
    $$ SELECT jsonb_array_elements(items::jsonb) $$;
