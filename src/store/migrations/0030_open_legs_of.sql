-- Whose open legs these are is asked whenever money is short: of a busy bridge's, only that organisation's are read. And
-- no index leads from the state alone to all of them, which a planner may take for the short way to one.
DROP INDEX leg_open;
CREATE INDEX leg_open ON leg (organisation) WHERE state = 'open';
