//! Sound: from the wire to the ear.
