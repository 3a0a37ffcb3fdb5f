//! Trust under attack: what a stranger, a neighbour realm, a lent server or a careless clock can try, and that
//! each is refused by name.

mod attack_certificates;
mod attack_chains;
mod attack_transfers;
mod audit;
mod audit_reading;
mod authority;
mod chains;
mod decisions;
mod documents;
mod feed_pages;
mod feeds;
mod groups;
mod handed_on;
mod invitations;
mod nests;
mod openssl;
mod property;
mod renewals;
mod roots;
mod support;
mod tokens;
mod vectors;
mod warm;
mod why;
