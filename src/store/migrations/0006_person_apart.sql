-- Its triggers and indices go with the old table.
DROP TABLE usage_record;
ALTER TABLE usage_record_apart RENAME TO usage_record;
CREATE INDEX usage_record_at ON usage_record (at);
CREATE INDEX usage_record_of ON usage_record (organisation, at);
CREATE TRIGGER usage_record_is_not_changed BEFORE UPDATE ON usage_record
BEGIN SELECT RAISE(ABORT, 'usage records are never changed'); END;
CREATE TRIGGER usage_record_is_not_removed BEFORE DELETE ON usage_record
BEGIN SELECT RAISE(ABORT, 'usage records are never removed'); END;

-- Of a leg that is over the journal keeps what the audit needs.
UPDATE leg SET number = CASE WHEN call_type = 'dial-out' THEN '+999' ELSE number END, caller = NULL, call_id = '',
    journal = '' WHERE state = 'settled';
UPDATE hold SET request = '' WHERE step = 'open' AND leg IN (SELECT id FROM leg WHERE state = 'settled');
