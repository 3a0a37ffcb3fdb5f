//! Opening an object at its home: content, attributes and access list in one round trip, with a callback.
//! The callback is given before the content is read, so that no change can pass between the two unnoticed.

use super::limits::OPEN_INLINE_BYTES;
use crate::coherence::Coherence;
use crate::model::{Entry, FileKind, Listing, Policy, SignedManifest};
use crate::rules::Hello;
use crate::serve::{FileSource, Home, HomeFile};
use crate::store::{Lookup, Object};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use terms::{ChangeNumber, Code, Location, Principal, Problem, Right, VolumePath};
use trust::{Authorised, Bucket};

/// What a holder sends to `/.webos/open/NAME.REALM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Relays that it has passed: count. So it ends also where relays were led in a circle.
    #[serde(default)]
    pub relays: u8,
    /// The stream on which it wants to be told of changes; without one it gets no callback.
    pub stream: Option<Hello>,
    /// The object.
    pub path: VolumePath,
}

/// What the home answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// The object's attributes.
    pub entry: Entry,
    /// Who may do what: a relay decides its own clients' rights on this.
    pub bucket: Bucket,
    /// The change number of the grant, in the count of the server that answers: recalls are told by it.
    pub change: ChangeNumber,
    /// The home's change number that the answer takes in, when a relay answers, which counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_in: Option<ChangeNumber>,
    /// Whether the holder will be told of changes; if not it may use the answer once.
    pub callback: bool,
    /// The home's signature of this version; nothing for a directory.
    pub manifest: Option<SignedManifest>,
    /// The content of a small file.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<u8>>,
    /// The first entries of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// The object is a symbolic link, or the path leads through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkAt>,
}

impl OpenAnswer {
    /// The attributes and list of an object, without content and without callback.
    pub(crate) fn once(entry: Entry, bucket: Bucket, change: ChangeNumber) -> Self {
        let (takes_in, manifest, content, listing, link) = Default::default();
        Self { entry, bucket, change, takes_in, callback: false, manifest, content, listing, link }
    }
}

/// A symbolic link on the way to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAt {
    /// Its path: the object's own, or one above it.
    pub at: VolumePath,
    /// Where it leads, as it was written.
    pub target: String,
}

/// Answers an open for a holder. `decide` is asked for the proof that it may read the object (or, where there is
/// none, the path), given the access list that governs it: before the callback is given, and again for what is read.
pub async fn open(
    home: &Home,
    coherence: &Coherence,
    holder: Principal,
    request: OpenRequest,
    decide: impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
) -> Result<OpenAnswer, Problem> {
    let OpenRequest { stream, path, .. } = request;
    let location = Location { volume: home.store().name().clone(), path };
    if let Some(link) = link_above(home, &location).await? {
        return through_link(home, link, &decide).await;
    }
    let (seen, _) = found(home, &location, &decide).await?;
    // If the policy changes before the object is read again, the answer says so, and a callback too many or too few
    // does no harm: nobody keeps what has neither.
    let stream = stream.filter(|_| policy_of(&seen.entry).has_callbacks());
    let grant = coherence.open(holder, stream, location.path.clone()).await?;
    let (object, bucket) = found(home, &location, &decide).await?;
    let (entry, bucket) = (object.entry, Bucket::clone(&bucket));
    let (change, callback) = (grant.change, grant.callback);
    let answer = OpenAnswer { callback, ..OpenAnswer::once(entry, bucket, change) };
    with_content(home, object, answer).await
}

/// What counts of a policy for copies of the object itself.
pub fn policy_of(entry: &Entry) -> Policy {
    match entry.kind {
        FileKind::Directory => entry.policy.of_listing(),
        FileKind::File => entry.policy,
        FileKind::Link => Policy::Cto,
    }
}

/// The symbolic link that the path leads through, if it does.
async fn link_above(home: &Home, location: &Location) -> Result<Option<VolumePath>, Problem> {
    match home.store().lookup(&location.path).await? {
        Lookup::Missing(missing) if missing.target.is_some() => Ok(Some(missing.nearest)),
        _ => Ok(None),
    }
}

/// Tells of a link on the way, to be followed once: no callback is given on what lies behind it.
async fn through_link(
    home: &Home,
    at: VolumePath,
    decide: &impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
) -> Result<OpenAnswer, Problem> {
    let change = home.store().change();
    let location = Location { volume: home.store().name().clone(), path: at };
    let (object, bucket) = found(home, &location, decide).await?;
    let link = object.target().map(|target| LinkAt { at: location.path, target: target.into() });
    let (entry, bucket) = (object.entry, Bucket::clone(&bucket));
    Ok(OpenAnswer { link, ..OpenAnswer::once(entry, bucket, change) })
}

/// The object with its access list, if there is one and it may be read.
async fn found(
    home: &Home,
    location: &Location,
    decide: &impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
) -> Result<(Arc<Object>, Arc<Bucket>), Problem> {
    let lookup = home.store().lookup(&location.path).await?;
    let bucket = home.store().bucket(lookup.bucket()).await?;
    let authorised = decide(location, &bucket)?;
    if authorised.location() != location || authorised.right() != Right::Read {
        return Err(Problem::new(Code::Denied, format!("no proof of the right r on {location}")));
    }
    match lookup {
        Lookup::Found(object) => Ok((object, bucket)),
        Lookup::Missing(_) => Err(Problem::new(Code::NotFound, format!("{location} does not exist"))),
    }
}

async fn with_content(home: &Home, object: Arc<Object>, mut answer: OpenAnswer) -> Result<OpenAnswer, Problem> {
    if let Some(target) = object.target() {
        answer.link = Some(LinkAt { at: object.path.clone(), target: target.into() });
        return Ok(answer);
    }
    let Some(file) = HomeFile::new(home, object.clone(), answer.change) else {
        answer.listing = Some(home.store().list(&object.path, "").await?);
        return Ok(answer);
    };
    let unsigned = || Problem::new(Code::Internal, "the home could not sign the file's manifest");
    answer.manifest = Some(file.signed_manifest().ok_or_else(unsigned)?.clone());
    if answer.entry.size <= OPEN_INLINE_BYTES {
        let mut content = Vec::new();
        for index in 0..file.manifest().block_count() {
            content.extend_from_slice(&home.store().read_block(&object, index).await?);
        }
        answer.content = Some(content);
    }
    Ok(answer)
}
