//! End to end, through the real binary and real processes.

mod audit;
mod bad_input;
mod browser;
mod clock;
mod command_line;
mod crash;
mod curl;
mod documented;
mod files;
mod groups;
mod install;
mod operations;
mod passphrase;
mod ports_and_clocks;
mod realms;
mod relay;
mod renewal;
mod sockets;
mod tokens;
mod two_realms;
mod via;
mod watch;
mod world_fetch;
mod world_leases;
mod world_surge;
mod world_up;
