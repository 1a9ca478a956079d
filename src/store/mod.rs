//! Remembers; the only room with SQL. Runs rating's decisions inside a transaction.
