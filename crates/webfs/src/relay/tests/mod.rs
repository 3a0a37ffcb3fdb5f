//! A replica and its home together: the real owner tasks, store and cache, with a wire that can be cut, held and
//! falsified.

mod cuts;
mod locks;
mod policies;
mod reads;
mod world;
