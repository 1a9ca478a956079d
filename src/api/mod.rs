//! The reception window: HTTP. One resource a file.
