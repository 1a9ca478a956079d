//! People in a room.
