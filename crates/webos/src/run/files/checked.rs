//! A body on its way, handed on block by block, each compared with what the home signed before anybody sees it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use terms::{Code, Digest, Problem};
use webfs::limits::BLOCK_BYTES;
use webfs::manifest::{Manifest, NodePlace, Seeker, Step, is_zeros};
use wire::BodyError;

/// The blocks of a body that is being received.
pub struct Checked<B> {
    body: B,
    seeker: Seeker,
    pending: BytesMut,
    index: usize,
    what: String,
}

impl<B> Checked<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    /// The body of the file with this manifest; `what` names it in errors.
    pub fn new(body: B, manifest: Manifest, what: impl Into<String>) -> Self {
        Self { body, seeker: Seeker::new(manifest), pending: BytesMut::new(), index: 0, what: what.into() }
    }

    /// Where the blocks begin that were not handed on.
    pub fn ahead(&self) -> impl Iterator<Item = u64> + use<B> {
        (self.index as u64..self.seeker.manifest().block_count() as u64).map(|index| index * BLOCK_BYTES)
    }

    /// What of the manifest is needed before the next block can be checked.
    pub fn needs(&mut self) -> Option<(NodePlace, Digest)> {
        match self.expected()? {
            Step::Need(place, hash) => Some((place, hash)),
            Step::Block(_) | Step::Hole(_) => None,
        }
    }

    /// Takes in what was needed.
    pub fn learn(&mut self, place: NodePlace, hash: Digest, node: &[u8]) -> Result<(), Problem> {
        self.seeker.learn(place, hash, node).map_err(|error| self.wrong(&format!("has a wrong manifest ({error})")))
    }

    fn expected(&mut self) -> Option<Step> {
        (self.index < self.seeker.manifest().block_count()).then(|| self.seeker.block(self.index))
    }

    /// The next block, or nothing at the end of the file. [`Checked::needs`] comes first.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(expected) = self.expected() else {
            return if self.more().await? || !self.pending.is_empty() {
                Err(self.wrong("is too long"))
            } else {
                Ok(None)
            };
        };
        let held = self.seeker.manifest().bytes_of(self.index);
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        let len = (held.end - held.start) as usize;
        while self.pending.len() < len {
            if !self.more().await? {
                let problem = Problem::new(Code::Unavailable, format!("{} ended early", self.what));
                return Err(problem.next("try again"));
            }
        }
        let bytes = self.pending.split_to(len).freeze();
        let right = match expected {
            Step::Block(block) => block.matches(&bytes),
            Step::Hole(_) => is_zeros(&bytes),
            Step::Need(..) => false,
        };
        if !right {
            return Err(self.wrong(&format!("is wrong in block {}", self.index)));
        }
        self.index += 1;
        Ok(Some(bytes))
    }

    async fn more(&mut self) -> Result<bool, Problem> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| self.stopped(error.into()))?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                self.pending.extend_from_slice(&data);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stopped(&self, cause: BodyError) -> Problem {
        match cause.downcast::<Problem>() {
            Ok(problem) if problem.code == Code::Conflict => {
                let what = format!("{} was changed while it was being read", self.what);
                Problem::new(Code::Conflict, what).next("try again")
            }
            Ok(problem) if problem.code != Code::Unavailable => *problem,
            Ok(problem) => self.late(&problem.detail),
            Err(cause) => self.late(&cause.to_string()),
        }
    }

    fn late(&self, why: &str) -> Problem {
        Problem::new(Code::Unavailable, format!("{} stopped on its way: {why}", self.what)).next("try again")
    }

    fn wrong(&self, how: &str) -> Problem {
        Problem::new(
            Code::Internal,
            format!("{} {how}: it is not what the home signed, and was not kept", self.what),
        )
        .next("read it from the home, and tell who runs the node that sent it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    fn manifest(content: &[u8]) -> Manifest {
        Manifest::of(content).expect("small")
    }

    async fn receive(signed: &[u8], sent: &[u8], piece: usize) -> Result<Vec<u8>, Problem> {
        let frames: Vec<Result<Frame<Bytes>, BodyError>> =
            sent.chunks(piece).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut checked = Checked::new(body, manifest(signed), "a");
        let mut all = Vec::new();
        while let Some(block) = checked.next().await? {
            all.extend_from_slice(&block);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn only_what_was_signed_is_handed_on() {
        let content: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        for piece in [1 << 14, 1 << 20, 3_000_000] {
            assert_eq!(receive(&content, &content, piece).await, Ok(content.clone()));
        }
        assert_eq!(receive(b"", b"", 1).await, Ok(Vec::new()));
        let body =
            StreamBody::new(futures_util::stream::iter([Ok::<_, BodyError>(Frame::data(content.clone().into()))]));
        let mut checked = Checked::new(body, manifest(&content), "a");
        assert_eq!(checked.ahead().collect::<Vec<_>>(), [0, 1 << 20, 2 << 20]);
        checked.next().await.expect("right");
        assert_eq!(checked.ahead().collect::<Vec<_>>(), [1 << 20, 2 << 20]);
        let mut altered = content.clone();
        altered[2_500_000] ^= 1;
        let problem = receive(&content, &altered, 1 << 16).await.expect_err("altered");
        assert!(problem.detail.contains("block 2"), "{problem}");
        let longer = [&content[..], b"x"].concat();
        assert!(receive(&content, &longer, 1 << 16).await.expect_err("longer").detail.contains("too long"));
        let shorter = &content[..2_999_999];
        assert_eq!(receive(&content, shorter, 1 << 16).await.expect_err("shorter").code, Code::Unavailable);
    }
}
