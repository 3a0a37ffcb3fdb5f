//! Warm decisions: what step 3 found in groups for a subject, an access list and a right, kept for as long as all that it
//! stands on stands. What the list alone says is not kept: to look it up there takes no longer. A bounded, set-associative table: a lookup looks at four places whatever anybody's names are, so that
//! nobody can make it slow by choosing names. Times and chains, steps 1 and 2, are never kept here; it reads no clock.

use crate::bucket::Bucket;
use crate::entries::{Checked, check_groups, check_list};
use crate::group::{Membership, earliest};
use crate::limits::WARM_DECISIONS;
use crate::reason::Ground;
use crate::tag;
use terms::{Digest, Principal, Right, UnixMs};

/// Places that one key can stand at.
const WAYS: usize = 4;

struct Kept {
    subject: Principal,
    bucket: Digest,
    right: Right,
    checked: Checked,
    /// Not used from this time on.
    end: Option<UnixMs>,
    /// The number of changes at which it was found.
    changes: u64,
}

/// Decisions of step 3 that are warm.
pub struct Decisions {
    seed: u64,
    /// The hashes of what stands at the places of a set: they lie together, and only a place whose hash fits is looked at.
    tags: Vec<[u64; WAYS]>,
    places: Vec<Option<Kept>>,
    /// The place of a set that is overwritten next.
    next: usize,
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = self.places.iter().flatten().count();
        f.debug_struct("Decisions").field("kept", &kept).finish_non_exhaustive()
    }
}

/// A question of step 3.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    /// For whom.
    pub subject: &'a Principal,
    /// The list.
    pub bucket: &'a Bucket,
    /// The name of the list: its hash.
    pub hash: Digest,
    /// The right.
    pub right: Right,
}

impl Decisions {
    /// An empty table. The seed spreads names over it; it need not be secret.
    pub fn new(seed: u64) -> Self {
        let mut places = Vec::new();
        places.resize_with(WARM_DECISIONS, || None);
        Self { seed, tags: vec![[0; WAYS]; WARM_DECISIONS / WAYS], places, next: 0 }
    }

    /// The warm answer. `changes` is a number that rises with each change of a group's list that is known here: what was
    /// found at another number counts no more.
    pub fn lookup(&self, question: &Entries<'_>, changes: u64, now: UnixMs) -> Option<&Checked> {
        let tag = self.tag(question);
        let kept = self.places[self.place(question, tag)?].as_ref()?;
        let stands = kept.end.is_none_or(|end| now < end) && kept.changes == changes;
        stands.then_some(&kept.checked)
    }

    /// The answer of [`check_entries`](crate::check_entries), warm if it can be. What nobody knows is not kept.
    pub fn check(&mut self, question: &Entries<'_>, groups: &dyn Membership, changes: u64, now: UnixMs) -> Checked {
        let Entries { subject, bucket, right, .. } = *question;
        if let Some(checked) = check_list(subject, right, bucket) {
            return checked;
        }
        if let Some(checked) = self.lookup(question, changes, now) {
            return checked.clone();
        }
        let checked = check_groups(subject, now, right, bucket, groups);
        self.keep(question, checked.clone(), changes);
        checked
    }

    /// Keeps an answer of groups that was found at this number of changes. Read the number *before* the answer is looked for.
    pub fn keep(&mut self, question: &Entries<'_>, checked: Checked, changes: u64) {
        if matches!(checked.ground, Err(Ground::GroupUnknown { .. })) {
            return;
        }
        let tag = self.tag(question);
        let set = self.set(tag);
        let free = || self.tags[set].iter().position(|at| *at == 0).map(|way| set * WAYS + way);
        let place = self.place(question, tag).or_else(free).unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            set * WAYS + self.next % WAYS
        });
        let end = earliest(checked.until, checked.known_until);
        let (subject, bucket, right) = (question.subject.clone(), question.hash, question.right);
        self.tags[set][place % WAYS] = tag;
        self.places[place] = Some(Kept { subject, bucket, right, checked, end, changes });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tags.fill([0; WAYS]);
        self.places.fill_with(|| None);
    }

    /// The place at which this question is answered.
    fn place(&self, question: &Entries<'_>, tag: u64) -> Option<usize> {
        let set = self.set(tag);
        let ways = self.tags[set].iter().enumerate().filter(|(_, at)| **at == tag);
        let mut places = ways.map(|(way, _)| set * WAYS + way);
        places.find(|place| self.places[*place].as_ref().is_some_and(|kept| kept.answers(question)))
    }

    /// The set of a hash.
    fn set(&self, tag: u64) -> usize {
        let scaled = (u128::from(tag) * self.tags.len() as u128) >> 64;
        // Less than the number of sets, which is one of places.
        usize::try_from(scaled).unwrap_or(0)
    }

    fn tag(&self, question: &Entries<'_>) -> u64 {
        let Entries { subject, hash, right, .. } = question;
        let (head, _) = hash.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let list = tag::fold(self.seed ^ u64::from_le_bytes(*head), *right as u64);
        // Nothing stands where the tag is none.
        tag::of_principal(list, subject).max(1)
    }
}

impl Kept {
    fn answers(&self, question: &Entries<'_>) -> bool {
        self.right == question.right && self.bucket == question.hash && self.subject == *question.subject
    }
}

const _: () = assert!(WARM_DECISIONS.is_multiple_of(WAYS) && WARM_DECISIONS > 0);
