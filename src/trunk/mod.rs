//! Carriers and numbers: who rings, whose number, which way out.
