//! PUT, DELETE and the changes without a body: content comes in first, then what the change touches is recalled,
//! then it is committed under the conditions that rights were decided on.

use super::conditions::{self, Written};
use super::file::{described, insert};
use super::proofs::{ListRights, WriteRights};
use super::{Face, Home, check_right};
use crate::limits::MAX_FILE_BYTES;
use crate::model::{CHANGE_HEADER, PARENTS_HEADER, SIZE_HEADER};
use crate::rules::LockEpoch;
use crate::store::{Change, Conditions, Lookup, Outcome, Patch, Precondition, Prepared, Put, StoreError};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use std::pin::pin;
use terms::{Code, Digest, OperationId, Principal, Problem, Right, SessionId, VolumePath};
use trust::{Authorised, Bucket};
use wire::{Body, BodyError, Until};

impl Home {
    /// Forgets the outcomes of a principal's session below a number: it has them.
    pub async fn settle(&self, by: Option<&Principal>, session: SessionId, below: u64) -> Result<(), Problem> {
        let session = id_of(by, OperationId { session, sequence: 0 }).session;
        Ok(self.store.settle(session, below).await?)
    }

    /// Answers a PUT: creates or replaces a file with the request's body.
    pub async fn put<B>(&self, rights: &WriteRights, path: &VolumePath, request: &Parts, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let mut body = pin!(body);
        match self.take_file(rights, path, request, body.as_mut()).await {
            Ok(outcome) => changed(&outcome),
            Err(problem) => {
                wire::body::read_off(body).await;
                wire::problem_response(&problem)
            }
        }
    }

    async fn take_file<B>(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        request: &Parts,
        body: B,
    ) -> Result<Outcome, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let precondition = conditions::of_change(&request.headers)?;
        let operation = conditions::operation(&request.headers)?.map(|id| id_of(rights.subject(), id));
        let parents = request.headers.get(PARENTS_HEADER).is_some_and(|value| value == "?1");
        check_length(&request.headers)?;
        let part = conditions::part(&request.headers)?;
        self.may_write(rights, path)?;
        let answered = match operation {
            Some(id) => self.store.is_recorded(id).await?,
            None => false,
        };
        // A retry of what was applied is answered with its outcome, whatever became of the lock.
        let lock = conditions::lock(&request.headers)?.filter(|_| !answered);
        if !answered {
            self.refuse_early(rights, path, &precondition).await?;
        }
        if let Some(part) = part {
            let change = Change::Patch(self.receive_part(path, part, body).await?);
            self.may_replace(rights, path)?;
            return self
                .commit_under(lock, change, conditions(precondition, vec![rights.decided_on], operation))
                .await;
        }
        let content = self.receive(body).await?;
        let (may_create, may_replace) = self.may_write(rights, path)?;
        let put = Put { path: path.clone(), content, parents, may_create, may_replace };
        self.commit_under(lock, Change::Put(put), conditions(precondition, vec![rights.decided_on], operation))
            .await
    }

    /// Whether the path may be created, and whether it may be replaced, now.
    pub(super) fn may_write(&self, rights: &WriteRights, path: &VolumePath) -> Result<(bool, bool), Problem> {
        let now = self.world.clock.unix();
        let check = |proof: &Option<Authorised>, right| {
            let proof = proof.as_ref().map(|proof| check_right(proof, self.store.name(), path, right, now));
            proof.unwrap_or_else(|| {
                Err(Problem::new(
                    Code::Denied,
                    format!("/{path}: the right to {} is needed for this", right.verb()),
                ))
            })
        };
        match (check(&rights.create, Right::Write), check(&rights.replace, Right::Modify)) {
            (Err(refusal), Err(_)) => Err(refusal),
            (create, replace) => Ok((create.is_ok(), replace.is_ok())),
        }
    }

    /// Says what the commit would say now, so that a long body need not travel for nothing.
    async fn refuse_early(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        precondition: &Precondition,
    ) -> Result<(), Problem> {
        let found = match self.store.lookup(path).await? {
            Lookup::Found(object) => Some(object),
            Lookup::Missing(_) => None,
        };
        let root = found.as_ref().and_then(|object| object.entry.etag);
        let holds = match precondition {
            Precondition::None => true,
            Precondition::Absent => found.is_none(),
            Precondition::Exists => found.is_some(),
            Precondition::OneOf(roots) => root.is_some_and(|root| roots.contains(&root)),
        };
        if !holds {
            return Err(StoreError::Precondition { path: path.clone(), found: root }.into());
        }
        match &found {
            Some(object) if object.entry.etag.is_none() => {
                Err(StoreError::IsDirectory { path: path.clone() }.into())
            }
            Some(object) if !object.entry.policy.may_overwrite() => {
                Err(StoreError::Policy { path: path.clone(), policy: object.entry.policy }.into())
            }
            Some(_) if rights.replace.is_none() => {
                Err(StoreError::NotAllowed { path: path.clone(), create: false }.into())
            }
            None if rights.create.is_none() => {
                Err(StoreError::NotAllowed { path: path.clone(), create: true }.into())
            }
            _ => Ok(()),
        }
    }

    /// Takes in a body. One that ends early leaves nothing.
    async fn receive<B>(&self, body: B) -> Result<Prepared, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let mut body = pin!(body);
        let mut upload = self.store.upload();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let error: BodyError = error.into();
                Problem::new(Code::Invalid, format!("the content ended early, nothing was stored: {error}"))
            })?;
            if let Ok(data) = frame.into_data() {
                upload.write(data).await?;
            }
        }
        Ok(upload.finish().await?)
    }

    /// Takes in a part of a file, or its new length.
    async fn receive_part<B>(&self, path: &VolumePath, part: Written, body: B) -> Result<Patch, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let Lookup::Found(object) = self.store.lookup(path).await? else {
            return Err(StoreError::NotFound { path: path.clone() }.into());
        };
        let mut body = pin!(body);
        let (first, len) = match part {
            Written::Part(bytes) => (bytes.start, bytes.end - bytes.start),
            Written::Length(size) => {
                return match body.frame().await {
                    None => Ok(self.store.resize(&object, size).await?),
                    Some(_) => Err(Problem::new(Code::Invalid, "a new length comes without content")),
                };
            }
        };
        let mut patching = self.store.patch(object, first).await?;
        let wrong = |what: String| Problem::new(Code::Invalid, format!("{what}, nothing was stored"));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| wrong(format!("the content ended early: {}", error.into())))?;
            if let Ok(data) = frame.into_data() {
                patching.write(data).await?;
            }
            if patching.len() > len {
                return Err(wrong(format!("the content is longer than the {len} bytes of its Content-Range")));
            }
        }
        if patching.len() < len {
            return Err(wrong(format!("the content is shorter than the {len} bytes of its Content-Range")));
        }
        Ok(patching.finish().await?)
    }

    /// Recalls what the change touches, then commits it.
    pub(super) async fn commit(
        &self,
        change: Change,
        precondition: Precondition,
        decided_on: Vec<Digest>,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        self.commit_under(None, change, conditions(precondition, decided_on, operation)).await
    }

    /// The same under these conditions, while a lock is held: refused if it was lost.
    pub(super) async fn commit_under(
        &self,
        lock: Option<LockEpoch>,
        change: Change,
        mut conditions: Conditions,
    ) -> Result<Outcome, Problem> {
        conditions.recalled = self.store.touched(&change).await?;
        let recalled = conditions.recalled.clone();
        let permit = match lock {
            Some(lock) => self.gate.before_locked_change(recalled, lock).await?,
            None => self.gate.before_change(recalled).await?,
        };
        conditions.until = self.until.as_ref().and_then(Until::end);
        Ok(self.store.change_with(change, conditions, permit).await?)
    }

    /// Answers a DELETE: removes a file or an empty directory.
    pub async fn delete(&self, rights: &WriteRights, path: &VolumePath, request: &Parts) -> Response<Body> {
        let removed = async {
            let precondition = conditions::of_change(&request.headers)?;
            let operation = conditions::operation(&request.headers)?.map(|id| id_of(rights.subject(), id));
            self.may_replace(rights, path)?;
            let answered = match operation {
                Some(id) => self.store.is_recorded(id).await?,
                None => false,
            };
            let lock = conditions::lock(&request.headers)?.filter(|_| !answered);
            let change = Change::Remove { path: path.clone() };
            self.commit_under(lock, change, conditions(precondition, vec![rights.decided_on], operation)).await
        };
        match removed.await {
            Ok(outcome) => changed(&outcome),
            Err(problem) => wire::problem_response(&problem),
        }
    }

    pub(super) fn may_replace(&self, rights: &WriteRights, path: &VolumePath) -> Result<(), Problem> {
        match self.may_write(rights, path)? {
            (_, true) => Ok(()),
            (_, false) => Err(StoreError::NotAllowed { path: path.clone(), create: false }.into()),
        }
    }

    /// Makes a directory; with `parents`, those above it too, and one that exists is no error.
    pub async fn make_directory(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        parents: bool,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        if !self.may_write(rights, path)?.0 {
            return Err(StoreError::NotAllowed { path: path.clone(), create: true }.into());
        }
        let change = Change::MakeDirectory { path: path.clone(), parents };
        let operation = operation.map(|id| id_of(rights.subject(), id));
        self.commit(change, Precondition::None, vec![rights.decided_on], operation).await
    }

    /// Replaces an object's access control list.
    pub async fn set_bucket(
        &self,
        rights: &ListRights,
        path: &VolumePath,
        bucket: Bucket,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let now = self.world.clock.unix();
        check_right(&rights.administer, self.store.name(), path, Right::Administer, now)?;
        self.must_have_administrator(path, [&bucket])?;
        let change = Change::SetBucket { path: path.clone(), bucket };
        let operation = operation.map(|id| id_of(rights.administer.subject(), id));
        self.commit(change, Precondition::None, rights.decided_on.clone(), operation).await
    }

    /// A list without anybody who may change it would be the last one for ever.
    fn must_have_administrator<'a>(
        &self,
        path: &VolumePath,
        lists: impl IntoIterator<Item = &'a Bucket>,
    ) -> Result<(), Problem> {
        let administered = |list: &Bucket| list.entries().iter().any(|(_, rights)| rights.has(Right::Administer));
        if lists.into_iter().all(administered) {
            return Ok(());
        }
        let what = format!(
            "after this change nobody could administer {}/{path}, or something below it",
            self.store.name()
        );
        Err(Problem::new(Code::Conflict, what)
            .next("give somebody else the right a first: `webos acl grant WHO a PLACE`"))
    }

    /// Gives each access control list of an object and all below it its successor, as one operation.
    pub async fn amend_lists(
        &self,
        rights: &ListRights,
        path: &VolumePath,
        lists: Vec<(Digest, Bucket)>,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let now = self.world.clock.unix();
        check_right(&rights.administer, self.store.name(), path, Right::Administer, now)?;
        self.must_have_administrator(path, lists.iter().map(|(_, list)| list))?;
        let change = Change::AmendLists { path: path.clone(), lists };
        let operation = operation.map(|id| id_of(rights.administer.subject(), id));
        self.commit(change, Precondition::None, rights.decided_on.clone(), operation).await
    }
}

/// An operation id as the ledger has it: within what its own principal did. Nobody meets the operations of another one,
/// whatever session it names.
pub(super) fn id_of(subject: Option<&Principal>, id: OperationId) -> OperationId {
    let mut hasher = blake3::Hasher::new_derive_key("webos 2026 operation session");
    hasher.update(&id.session.0);
    hasher.update(subject.map(ToString::to_string).unwrap_or_default().as_bytes());
    let mut session = [0; 16];
    hasher.finalize_xof().fill(&mut session);
    OperationId { session: SessionId(session), ..id }
}

/// The conditions of a change whose rights were decided on these lists.
fn conditions(precondition: Precondition, decided_on: Vec<Digest>, operation: Option<OperationId>) -> Conditions {
    Conditions { precondition, decided_on: Some(decided_on), operation, ..Conditions::none() }
}

/// Refuses what is too long by its own word.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > MAX_FILE_BYTES => Err(StoreError::TooLarge { limit: MAX_FILE_BYTES }.into()),
        _ => Ok(()),
    }
}

/// The answer to a change: 201 for what is new, else 204; it describes the object as it is now.
fn changed(outcome: &Outcome) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(10);
    match &outcome.entry {
        Some(entry) => {
            described(&mut headers, entry, outcome.change, Face::Volume);
            insert(&mut headers, SIZE_HEADER, &entry.size.to_string());
        }
        None => {
            headers.insert(CHANGE_HEADER, HeaderValue::from(outcome.change.0));
        }
    }
    let status = if outcome.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    super::file::bodyless(status, headers)
}
