//! Where the rooms meet: looks up, translates, forwards; decides nothing.
