//! Nodes of a realm in one process, over real sockets and real TLS, each with its own keys and folder.

mod attacks;
mod batches;
mod bent;
mod fickle;
mod groups;
mod home;
mod hostile;
mod lending;
mod moving;
mod name_servers;
mod operations;
mod parts;
mod realm;
mod records;
mod recovery;
mod relay;
mod renewal;
mod service;
mod sessions;
mod smart;
mod strangers;
