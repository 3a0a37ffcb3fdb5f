//! Faults of this node: others are told that there is one, its log has what happened, and a number joins the two. What
//! lies where on this disk is nobody else's business.

use crate::node::State;
use http::Response;
use std::path::Path;
use terms::{Code, Problem};
use wire::{Body, Peer};

/// The answer that carries a problem as it is known here; [`outward`] makes of it what leaves the node.
pub fn refused(problem: Problem) -> Response<Body> {
    let mut response = wire::problem_response(&problem);
    response.extensions_mut().insert(problem);
    response
}

/// The answer as the peer gets it. The node itself sees everything: whoever asks as it holds its folder.
pub fn outward(state: &State, peer: Option<&Peer>, mut response: Response<Body>) -> Response<Body> {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let own = &state.own.principal;
    if !is_inner(&problem, state.settings.folder.path()) || peer.is_some_and(|peer| peer.principal == *own) {
        return response;
    }
    let incident = format!("{:012x}", state.world.entropy.number() >> 16);
    tracing::error!(%incident, %problem, "a request met a fault of this node");
    let told = format!("an error inside the node {}; its log has it under {incident}", own.name);
    let told = Problem::new(problem.code, told).next("give that number to whoever runs the node");
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, wire::problem_response(&told).into_body())
}

/// Whether a problem tells of the node's own inside: faults do, and whatever names its folder.
fn is_inner(problem: &Problem, folder: &Path) -> bool {
    // Every text has `.` or `/` in it; what stands in a relative path tells nothing of the machine.
    let telling = folder.is_absolute() && folder.parent().is_some();
    let folder = folder.display().to_string();
    problem.code == Code::Internal
        || telling && (problem.detail.contains(&folder) || problem.next.contains(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_and_whatever_names_the_folder_are_inner() {
        let denied = Problem::new(Code::Denied, "you may not read data.lab.example/a");
        let full = Problem::new(Code::NoSpace, "/srv/n1/tokens cannot be written: no space");
        let advice = Problem::new(Code::Invalid, "damaged").next("remove /srv/n1/purse/x");
        for (problem, folder, inner) in [
            (&denied, "/srv/n1", false),
            (&denied, "/", false),
            (&denied, ".", false),
            (&denied, "", false),
            (&full, "/srv/n1", true),
            (&full, "/srv/n2", false),
            (&advice, "/srv/n1", true),
            (&Problem::new(Code::Internal, "odd"), ".", true),
        ] {
            assert_eq!(is_inner(problem, Path::new(folder)), inner, "{problem} in '{folder}'");
        }
    }
}
