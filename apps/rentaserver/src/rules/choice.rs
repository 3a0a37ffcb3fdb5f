//! Which servers to borrow and which to return. In this slice by price, then power; placement near the clients
//! enters here, as another order.

use crate::model::Server;
use client::models::lending::{OFFER_POWER, OFFER_PRICE};
use std::cmp::Ordering;
use terms::Principal;

/// Cheap before dear, strong before weak; the name makes it stable.
pub(crate) fn better_first(one: &Server, other: &Server) -> Ordering {
    let by_price = one.price.total_cmp(&other.price);
    by_price.then(other.power.total_cmp(&one.power)).then_with(|| one.principal.cmp(&other.principal))
}

/// Whether an offer's numbers can be true. The node that handed the offer on has looked; sizing relies on it.
pub(crate) fn believable(server: &Server) -> bool {
    OFFER_POWER.contains(&server.power) && OFFER_PRICE.contains(&server.price)
}

/// The servers to borrow for at least this much more power, at most so many.
pub(crate) fn to_borrow(mut free: Vec<Server>, power: f64, at_most: usize) -> Vec<Server> {
    free.sort_by(better_first);
    let mut missing = power;
    free.into_iter()
        .take(at_most)
        .take_while(|server| {
            let needed = missing > 0.0;
            missing -= server.power;
            needed
        })
        .collect()
}

/// The servers that can go while this much power stays, at most so many; the least wanted first.
pub(crate) fn to_return(mut borrowed: Vec<&Server>, mut spare: f64, at_most: usize) -> Vec<Principal> {
    borrowed.sort_by(|one, other| better_first(other, one));
    let mut chosen = Vec::new();
    for server in borrowed {
        if chosen.len() < at_most && server.power <= spare {
            spare -= server.power;
            chosen.push(server.principal.clone());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::Thumbprint;

    fn server(name: &str, price: f64, power: f64) -> Server {
        Server {
            principal: format!("spiffe://lab.example/server/{name}").parse().expect("valid"),
            key: Thumbprint([1; 32]),
            address: "127.0.0.1:1".into(),
            place: None,
            power,
            price,
        }
    }

    fn names(servers: &[Server]) -> Vec<&str> {
        servers.iter().map(|server| server.principal.name.as_str()).collect()
    }

    #[test]
    fn cheap_and_strong_first_and_no_more_than_needed() {
        let free = vec![server("a", 1.0, 1.0), server("b", 0.0, 1.0), server("c", 0.0, 2.0), server("d", 0.0, 1.0)];
        for (power, at_most, expected) in [
            (0.5, 9, vec!["c"]),
            (2.0, 9, vec!["c"]),
            (2.1, 9, vec!["c", "b"]),
            (9.0, 9, vec!["c", "b", "d", "a"]),
            (9.0, 2, vec!["c", "b"]),
            (0.0, 9, vec![]),
        ] {
            assert_eq!(names(&to_borrow(free.clone(), power, at_most)), expected, "{power} {at_most}");
        }
    }

    #[test]
    fn what_stays_is_enough() {
        let held = [server("a", 1.0, 1.0), server("b", 0.0, 1.0), server("c", 0.0, 2.0)];
        for (spare, at_most, expected) in [
            (0.9, 9, vec![]),
            (1.0, 9, vec!["a"]),
            (2.0, 9, vec!["a", "b"]),
            (4.0, 9, vec!["a", "b", "c"]),
            (4.0, 1, vec!["a"]),
        ] {
            let chosen = to_return(held.iter().collect(), spare, at_most);
            let chosen: Vec<_> = chosen.iter().map(|principal| principal.name.as_str()).collect();
            assert_eq!(chosen, expected, "{spare} {at_most}");
        }
    }
}
