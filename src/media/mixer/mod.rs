//! The mix: loops over samples in `sum`, how loud a voice is in `level`, who is heard where only a few are in `loudest`,
//! what is common to a room in `room`.
//! Before the mix, where a stream asks for it: `noise` taken out (`fourier` is its transform), `gain` evened.

pub mod fourier;
pub mod gain;
pub mod level;
pub mod loudest;
pub mod noise;
pub mod room;
pub mod sum;
