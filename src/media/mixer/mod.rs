//! The mix: loops over samples in `sum`, how loud a voice is in `level`, who is heard where only a few are in `loudest`,
//! what is common to a room in `room`.

pub mod level;
pub mod loudest;
pub mod room;
pub mod sum;
