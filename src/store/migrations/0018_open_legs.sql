-- Each slice under a limit of an organiser, a meeting or a carrier asks what their open legs hold: found by name, not by
-- looking at every open leg.
CREATE INDEX leg_open_of_organiser ON leg (organiser) WHERE state = 'open';
CREATE INDEX leg_open_of_meeting ON leg (meeting) WHERE state = 'open';
CREATE INDEX leg_open_of_carrier ON leg (carrier) WHERE state = 'open';
