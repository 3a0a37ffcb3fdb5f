//! Short hashes of names, for tables in memory: fast, spread by a seed, and never a proof of anything.

use terms::{Principal, PrincipalKind};

/// A hash of a principal's name.
pub fn of_principal(seed: u64, principal: &Principal) -> u64 {
    let kind = match principal.kind {
        PrincipalKind::User => 1,
        PrincipalKind::Server => 2,
        PrincipalKind::Service => 3,
    };
    let state = absorb(fold(seed, kind), principal.name.as_str().as_bytes());
    absorb(state, principal.realm.as_str().as_bytes())
}

/// Multiplies to twice the width and folds the halves, as wyhash does.
pub fn fold(one: u64, two: u64) -> u64 {
    let wide = u128::from(one ^ 0xa076_1d64_78bd_642f) * u128::from(two ^ 0xe703_7ed1_a0b4_28db);
    #[allow(clippy::cast_possible_truncation)] // the two halves
    let folded = wide as u64 ^ (wide >> 64) as u64;
    folded
}

fn absorb(mut state: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        state = fold(state, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    fold(state, u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56)
}
