-- Where a call in began, as its signalling says.
ALTER TABLE leg ADD COLUMN origin TEXT NOT NULL DEFAULT 'fixed' CHECK (origin IN ('fixed', 'mobile', 'payphone'));
