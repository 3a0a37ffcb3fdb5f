//! A replica and its home together: the real owner tasks, store and cache, with a wire that can be cut, held and
//! falsified.

mod chain;
mod cuts;
mod liars;
mod locks;
mod policies;
mod reads;
mod tree;
mod tree_cuts;
mod world;
