//! One call's life, from the first ring to the last second.
