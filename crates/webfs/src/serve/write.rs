//! PUT, DELETE and the changes without a body: content comes in first, then what the change touches is recalled,
//! then it is committed under the conditions that rights were decided on.

use super::conditions;
use super::file::{described, insert};
use super::{Face, Home, check_right};
use crate::limits::MAX_FILE_BYTES;
use crate::model::{CHANGE_HEADER, PARENTS_HEADER, SIZE_HEADER};
use crate::rules::LockEpoch;
use crate::store::{Change, Conditions, Lookup, Outcome, Precondition, Prepared, Put, StoreError};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use std::pin::pin;
use terms::{Code, Digest, OperationId, Problem, Right, VolumePath};
use trust::{Authorised, Bucket};
use wire::{Body, BodyError};

/// What somebody may do to a path, and the access control list on which that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRights {
    /// The hash of the list: the object's, or that of the nearest one above if there is none.
    pub decided_on: Digest,
    /// The proof of [`Right::Write`] on the path: it may be created.
    pub create: Option<Authorised>,
    /// The proof of [`Right::Modify`] on the path: it may be replaced or removed.
    pub replace: Option<Authorised>,
}

/// What somebody may do to an access control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRights {
    /// The hashes of the present lists on which it was decided: the object's, and for a change of all below it
    /// those of [`crate::store::Store::buckets_below`].
    pub decided_on: Vec<Digest>,
    /// The proof of [`Right::Administer`] on the path.
    pub administer: Authorised,
}

impl Home {
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
        let operation = conditions::operation(&request.headers)?;
        let parents = request.headers.get(PARENTS_HEADER).is_some_and(|value| value == "?1");
        check_length(&request.headers)?;
        self.may_write(rights, path)?;
        let answered = match operation {
            Some(id) => self.store.is_recorded(id).await?,
            None => false,
        };
        if !answered {
            self.refuse_early(rights, path, &precondition).await?;
        }
        let content = self.receive(body).await?;
        let (may_create, may_replace) = self.may_write(rights, path)?;
        let put = Put { path: path.clone(), content, parents, may_create, may_replace };
        // A retry of what was applied is answered with its outcome, whatever became of the lock.
        let lock = conditions::lock(&request.headers)?.filter(|_| !answered);
        self.commit_under(lock, Change::Put(put), precondition, vec![rights.decided_on], operation).await
    }

    /// Whether the path may be created, and whether it may be replaced, now.
    fn may_write(&self, rights: &WriteRights, path: &VolumePath) -> Result<(bool, bool), Problem> {
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

    /// Recalls what the change touches, then commits it.
    async fn commit(
        &self,
        change: Change,
        precondition: Precondition,
        decided_on: Vec<Digest>,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        self.commit_under(None, change, precondition, decided_on, operation).await
    }

    /// The same while a lock is held: refused if it was lost.
    async fn commit_under(
        &self,
        lock: Option<LockEpoch>,
        change: Change,
        precondition: Precondition,
        decided_on: Vec<Digest>,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let nearest = self.store.lookup(change.path()).await?.nearest().clone();
        let recalled = change.touches(&nearest);
        let permit = match lock {
            Some(lock) => self.gate.before_locked_change(recalled.clone(), lock).await?,
            None => self.gate.before_change(recalled.clone()).await?,
        };
        let conditions = Conditions { precondition, decided_on: Some(decided_on), recalled, operation };
        Ok(self.store.change_with(change, conditions, permit).await?)
    }

    /// Answers a DELETE: removes a file or an empty directory.
    pub async fn delete(&self, rights: &WriteRights, path: &VolumePath, request: &Parts) -> Response<Body> {
        let removed = async {
            let precondition = conditions::of_change(&request.headers)?;
            let operation = conditions::operation(&request.headers)?;
            self.may_replace(rights, path)?;
            let answered = match operation {
                Some(id) => self.store.is_recorded(id).await?,
                None => false,
            };
            let lock = conditions::lock(&request.headers)?.filter(|_| !answered);
            let change = Change::Remove { path: path.clone() };
            self.commit_under(lock, change, precondition, vec![rights.decided_on], operation).await
        };
        match removed.await {
            Ok(outcome) => changed(&outcome),
            Err(problem) => wire::problem_response(&problem),
        }
    }

    fn may_replace(&self, rights: &WriteRights, path: &VolumePath) -> Result<(), Problem> {
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
        self.commit(change, Precondition::None, rights.decided_on.clone(), operation).await
    }
}

/// Refuses what is too long by its own word, and parts of files.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::new(Code::Invalid, "a PUT replaces the whole file: Content-Range is not understood"));
    }
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
