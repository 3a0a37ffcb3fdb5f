//! Access control lists as immutable values named by their hash: the same rights anywhere are the same bucket.
//! A bucket gives rights and never takes them; who matches an entry is decided elsewhere.

use crate::TrustError;
use crate::codec::{check_size, decode, encode};
use crate::limits::{MAX_BUCKET_BYTES, MAX_BUCKET_ENTRIES};
use crate::tag;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;
use terms::{Digest, GroupName, Principal, Right, Rights, Who};

const WHAT: &str = "the access list";

/// A sorted list of who has which rights. Each name stands once, no entry is empty, and `anyone` holds at most
/// `r` and `x`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Who, Rights)>", into = "Vec<(Who, Rights)>")]
pub struct Bucket {
    entries: Vec<(Who, Rights)>,
    /// Hashes of the principals, which stand together: one look at them says which entry to compare. Entries are many
    /// pieces of memory, and a list that nobody asked about for a while is in no cache.
    principals: Box<[u32]>,
    hash: OnceLock<Digest>,
}

impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Bucket {}

/// What `anyone` can hold.
pub(crate) fn anonymous_rights() -> Rights {
    Rights::of(&[Right::Read, Right::Execute])
}

impl Bucket {
    /// The bucket that gives nobody anything.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A bucket from its entries in any order; entries of the same name are joined.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if `anyone` is to get more than `rx`, [`TrustError::TooLarge`].
    pub fn new(entries: impl IntoIterator<Item = (Who, Rights)>) -> Result<Self, TrustError> {
        entries.into_iter().try_fold(Self::empty(), |bucket, (who, rights)| bucket.grant(who, rights))
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[(Who, Rights)] {
        &self.entries
    }

    /// The rights of exactly this entry; membership is not looked at.
    pub fn rights_of(&self, who: &Who) -> Rights {
        self.position(who).map_or(Rights::NONE, |index| self.entries[index].1)
    }

    /// Whom a right is given to without a look at who asks: the built-in groups, which stand before all others.
    pub fn built_in(&self) -> impl Iterator<Item = (&Who, Rights)> {
        let named = |who: &Who| matches!(who, Who::Principal(_) | Who::Group(_));
        self.entries.iter().take_while(move |(who, _)| !named(who)).map(|(who, rights)| (who, *rights))
    }

    /// The place of exactly this principal's entry.
    pub(crate) fn entry_of_principal(&self, principal: &Principal) -> Option<usize> {
        let (tag, first) = (short_tag(principal), self.built_in().count());
        let mut likely = self.principals.iter().enumerate().filter(|(_, at)| **at == tag);
        likely.find_map(|(index, _)| match self.entries.get(first + index) {
            Some((Who::Principal(entry), _)) if entry == principal => Some(first + index),
            _ => None,
        })
    }

    /// Where the entries of groups begin.
    pub(crate) fn first_group(&self) -> usize {
        self.built_in().count() + self.principals.len()
    }

    /// The entries of groups, which stand behind all others.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupName, Rights)> {
        self.entries.iter().skip(self.first_group()).filter_map(|(who, rights)| match who {
            Who::Group(group) => Some((group, *rights)),
            _ => None,
        })
    }

    fn sorted(entries: Vec<(Who, Rights)>) -> Self {
        let tag = |(who, _): &(Who, Rights)| match who {
            Who::Principal(principal) => Some(short_tag(principal)),
            _ => None,
        };
        let principals = entries.iter().filter_map(tag).collect();
        Self { entries, principals, hash: OnceLock::new() }
    }

    fn position(&self, who: &Who) -> Result<usize, usize> {
        self.entries.binary_search_by(|(entry, _)| entry.cmp(who))
    }

    /// A new bucket in which `who` has these rights too.
    ///
    /// # Errors
    /// As [`Bucket::new`].
    pub fn grant(&self, who: Who, rights: Rights) -> Result<Self, TrustError> {
        if rights.is_empty() {
            return Ok(self.clone());
        }
        let mut entries = self.entries.clone();
        match self.position(&who) {
            Ok(index) => entries[index].1 = entries[index].1.with(rights),
            Err(index) => entries.insert(index, (who, rights)),
        }
        Self::try_from(entries)
    }

    /// A new bucket in which this entry has lost these rights. A right that comes from another entry stays.
    #[must_use]
    pub fn revoke(&self, who: &Who, rights: Rights) -> Self {
        let mut entries = self.entries.clone();
        if let Ok(index) = self.position(who) {
            entries[index].1 = entries[index].1.without(rights);
            if entries[index].1.is_empty() {
                entries.remove(index);
            }
        }
        Self::sorted(entries)
    }

    /// The one encoding of this bucket.
    ///
    /// # Errors
    /// Never for a value that exists; the encoder's type says so.
    pub fn encode(&self) -> Result<Vec<u8>, TrustError> {
        encode(WHAT, self)
    }

    /// Reads what [`Bucket::encode`] wrote; another encoding of the same entries is refused.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], [`TrustError::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TrustError> {
        let bucket: Self = decode(WHAT, bytes, MAX_BUCKET_BYTES)?;
        if bucket.encode()? != bytes {
            return Err(TrustError::malformed(WHAT, "it is not in its one encoding"));
        }
        Ok(bucket)
    }

    /// The bucket's name: a hash over its entries, apart from all other hashes. It is computed once.
    pub fn hash(&self) -> Digest {
        *self.hash.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"webos-bucket-v1");
            for (who, rights) in &self.entries {
                let who = who.to_string();
                hasher.update(&(who.len() as u64).to_le_bytes()).update(who.as_bytes()).update(&[rights.bits()]);
            }
            Digest(*hasher.finalize().as_bytes())
        })
    }
}

impl TryFrom<Vec<(Who, Rights)>> for Bucket {
    type Error = TrustError;
    fn try_from(entries: Vec<(Who, Rights)>) -> Result<Self, TrustError> {
        check_size(WHAT, entries.len(), MAX_BUCKET_ENTRIES)?;
        if !entries.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err(TrustError::malformed(WHAT, "its entries are not sorted or not single"));
        }
        for (who, rights) in &entries {
            if rights.is_empty() {
                return Err(TrustError::malformed(WHAT, format_args!("the entry of {who} gives nothing")));
            }
            if *who == Who::Anyone && !anonymous_rights().covers(*rights) {
                return Err(TrustError::Rule(format!("anyone can hold r and x only, not {rights}")));
            }
        }
        Ok(Self::sorted(entries))
    }
}

impl From<Bucket> for Vec<(Who, Rights)> {
    fn from(bucket: Bucket) -> Self {
        bucket.entries
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(who, rights)| (who, rights))).finish()
    }
}

/// What tells most principals apart. Names that are chosen to have the same only make a list be read entry by entry.
fn short_tag(principal: &Principal) -> u32 {
    const HALF: u32 = 32;
    u32::try_from(tag::of_principal(0, principal) >> HALF).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(text: &str) -> Who {
        text.parse().expect("a name")
    }

    fn rights(text: &str) -> Rights {
        text.parse().expect("rights")
    }

    #[test]
    fn order_of_granting_does_not_matter() {
        let (a, b) = ((who("spiffe://a/user/a"), rights("rw")), (who("authenticated"), rights("r")));
        let one = Bucket::new([a.clone(), b.clone()]).expect("valid");
        let two = Bucket::new([b, (a.0.clone(), rights("w")), (a.0, rights("r"))]).expect("valid");
        assert_eq!(one, two);
        assert_eq!(one.hash(), two.hash());
        assert_eq!(one.encode().expect("bytes"), two.encode().expect("bytes"));
        assert_eq!(Bucket::decode(&one.encode().expect("bytes")).expect("ours"), one);
        assert_ne!(one.hash(), Bucket::empty().hash());
    }

    #[test]
    fn revoking_takes_only_from_its_entry() {
        let bucket = Bucket::new([(who("anyone"), rights("r")), (who("authenticated"), rights("rw"))]);
        let bucket = bucket.expect("valid");
        let less = bucket.revoke(&who("authenticated"), rights("r"));
        assert_eq!(less.rights_of(&who("authenticated")), rights("w"));
        assert_eq!(less.rights_of(&who("anyone")), rights("r"));
        assert_eq!(less.revoke(&who("authenticated"), rights("rwmxa")).entries().len(), 1);
        assert_eq!(bucket.revoke(&who("spiffe://a/user/a"), rights("r")), bucket);
    }

    #[test]
    fn only_one_encoding_is_read() {
        let raw = |entries: &[(&str, &str)]| encode("test", &entries).expect("bytes");
        for (name, bytes) in [
            ("unsorted", raw(&[("spiffe://a/user/b", "r"), ("spiffe://a/user/a", "r")])),
            ("twice", raw(&[("spiffe://a/user/a", "r"), ("spiffe://a/user/a", "w")])),
            ("an empty entry", raw(&[("spiffe://a/user/a", "-")])),
            ("rights in another order", raw(&[("spiffe://a/user/a", "wr")])),
            ("anyone writes", raw(&[("anyone", "rw")])),
            ("anyone holds relay", raw(&[("anyone", "r+relay")])),
            ("no name", raw(&[("bob", "r")])),
            ("trailing bytes", [raw(&[("anyone", "r")]), vec![0]].concat()),
            ("a longer length", [vec![0x98, 0x01], raw(&[("anyone", "r")])[1..].to_vec()].concat()),
        ] {
            assert!(Bucket::decode(&bytes).is_err(), "{name}");
        }
        assert!(Bucket::decode(&raw(&[("anyone", "rx")])).is_ok());
    }
}
