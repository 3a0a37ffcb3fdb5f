//! What this node can tell about a name that somebody gives rights to. A right for somebody who does not exist is no
//! error: it may come before its holder. But a slip of the pen should show.

use crate::node::State;
use terms::Who;
use trust::MemberState;

/// What the giver should know about this name; nothing if all is as usual.
pub fn note(state: &State, who: &Who) -> Option<String> {
    match who {
        Who::Anyone | Who::Authenticated => None,
        Who::Principal(principal) if principal.realm != *state.realm() => untrusted(state, &principal.realm),
        Who::Principal(principal) => {
            let registrar = state.registrar.as_ref();
            match registrar.and_then(|registrar| registrar.standing(principal)) {
                Some(MemberState::Active) => None,
                Some(MemberState::Revoked(_)) => Some(format!("{principal} was revoked: it gets in nowhere")),
                Some(MemberState::Cordoned(_)) => {
                    Some(format!("{principal} is cordoned as a suspected clone: it gets no further certificate"))
                }
                None => Some(format!("whether there is a {principal} cannot be checked here")),
            }
        }
        Who::Group(group) if state.gate.groups().holds(group) => match state.gate.groups().own(group) {
            Some(_) => None,
            None => Some(format!("there is no group {group}: nobody belongs to it until it is made")),
        },
        Who::Group(group) if group.realm == *state.realm() => {
            Some(format!("whether there is a group {group} cannot be checked here"))
        }
        Who::Group(group) => untrusted(state, &group.realm),
    }
}

fn untrusted(state: &State, realm: &terms::RealmName) -> Option<String> {
    let trusted = state.client.trust().bundle(realm).is_some();
    (!trusted).then(|| format!("the realm {realm} is not trusted here: nobody of it can come"))
}
