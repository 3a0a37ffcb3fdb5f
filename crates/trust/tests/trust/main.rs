//! Trust under attack: what a stranger, a neighbour realm, a lent server or a careless clock can try, and that
//! each is refused by name.

mod attack_certificates;
mod attack_transfers;
mod audit;
mod authority;
mod decisions;
mod documents;
mod groups;
mod invitations;
mod property;
mod renewals;
mod roots;
mod support;
