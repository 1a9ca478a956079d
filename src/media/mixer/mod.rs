//! The mix: loops over samples in `sum`, how loud a voice is in `level`, what is common to a room in `room`.

pub mod level;
pub mod room;
pub mod sum;
