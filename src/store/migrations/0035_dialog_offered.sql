-- In which life a call that is still to be ended was given to its node first: none is let go for its age before that, since
-- whoever's clock was put right meanwhile takes minutes for years.
ALTER TABLE dialog ADD COLUMN offered INTEGER;
