//! Long files in parts, from a source that answers late, in any order, not at all, or wrongly.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// What the source does with a request for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Comes,
    /// After so many milliseconds.
    Late(u64),
    /// So many bytes come, then the connection breaks.
    Breaks(usize),
    /// So many bytes come, then the body ends as if that were all.
    Short(usize),
    /// More comes than was asked for.
    Long,
    NotReached,
    Changed,
}

/// A file and what happens to each request, by the connection and the first byte.
struct Fickle<F> {
    content: Bytes,
    fate: F,
    asked: Mutex<Vec<(u8, Range<u64>)>>,
    /// Parts that were asked for and not read to their end: now, and at most.
    held: Arc<AtomicUsize>,
    most: AtomicUsize,
}

/// Counts a part that is under way.
struct Holding(Arc<AtomicUsize>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fickle<F: Fn(u8, u64) -> Fate + Send + Sync + 'static>(size: u64, fate: F) -> Arc<Fickle<F>> {
    let content: Vec<u8> = (0..size).map(|at| (at / 977 % 251) as u8).collect();
    let (held, most) = (Arc::default(), AtomicUsize::new(0));
    Arc::new(Fickle { content: content.into(), fate, asked: Mutex::default(), held, most })
}

/// A body of these bytes that ends so.
fn pieces(bytes: Bytes, end: Option<BodyError>, holding: Option<Holding>) -> PartsBody {
    let chunks: Vec<Result<Bytes, BodyError>> = bytes.chunks(60_000).map(|at| Ok(bytes.slice_ref(at))).collect();
    let chunks = stream::iter(chunks).chain(stream::iter(end.map(Err))).map(move |chunk| {
        let _counted = &holding;
        chunk.map(Frame::data)
    });
    StreamBody::new(chunks).boxed_unsync()
}

impl<F: Fn(u8, u64) -> Fate + Send + Sync + 'static> Source for Fickle<F> {
    fn part(&self, lane: u8, bytes: Range<u64>) -> BoxFuture<'_, Result<PartsBody, Problem>> {
        self.asked.lock().expect("whole").push((lane, bytes.clone()));
        let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(held, Ordering::Relaxed);
        let holding = Holding(self.held.clone());
        async move {
            let fate = (self.fate)(lane, bytes.start);
            let cut = |len: usize| self.content.slice(bytes.start as usize..bytes.start as usize + len);
            let whole = (bytes.end - bytes.start) as usize;
            match fate {
                Fate::Comes => {}
                Fate::Late(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Fate::Breaks(len) => return Ok(pieces(cut(len), Some("reset".into()), Some(holding))),
                Fate::Short(len) => return Ok(pieces(cut(len), None, Some(holding))),
                Fate::Long => {
                    let longer = [cut(whole).as_ref(), b"and more"].concat();
                    return Ok(pieces(longer.into(), None, Some(holding)));
                }
                Fate::NotReached => return Err(Problem::new(Code::Unavailable, "nobody there")),
                Fate::Changed => return Err(Problem::new(Code::Conflict, "another version")),
            }
            Ok(pieces(cut(whole), None, Some(holding)))
        }
        .boxed()
    }
}

/// Reads the whole file, its first part with this fate.
async fn read<F>(source: &Arc<Fickle<F>>, first: Fate, ahead: usize) -> Result<Vec<u8>, Problem>
where
    F: Fn(u8, u64) -> Fate + Send + Sync + 'static,
{
    let size = source.content.len() as u64;
    let whole = source.content.slice(..size.min(PART_BYTES) as usize);
    let first = match first {
        Fate::Breaks(len) => pieces(whole.slice(..len), Some("reset".into()), None),
        _ => pieces(whole, None, None),
    };
    let mut parts = Parts::new(source.clone(), first, size, ahead);
    let mut all = Vec::new();
    while let Some(chunk) = parts.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(error) => {
                assert!(parts.next().await.is_none(), "nothing follows what is missing");
                return Err(*error.downcast().expect("a problem"));
            }
        }
    }
    Ok(all)
}

/// Longer than what one connection is enough for, and no whole number of parts.
const LONG: u64 = PART_BYTES + LANES_FROM_BYTES + 3 * PART_BYTES + 12_345;

#[tokio::test(start_paused = true)]
async fn parts_come_in_order_whatever_order_they_arrive_in() {
    for size in [PART_BYTES + 1, PART_BYTES + LANES_FROM_BYTES, LONG] {
        // The earlier a part, the later it arrives; and some at once.
        let source = fickle(size, move |_, at| match at / PART_BYTES % 3 {
            0 => Fate::Comes,
            _ => Fate::Late((size - at) / 10_000),
        });
        assert!(read(&source, Fate::Comes, PARTS_AHEAD).await.expect("read") == source.content, "{size}");
        let lanes: std::collections::BTreeSet<u8> =
            source.asked.lock().expect("whole").iter().map(|(lane, _)| *lane).collect();
        assert_eq!(lanes.len(), if size == LONG { usize::from(BULK_LANES) } else { 1 }, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_asked_for_than_the_memory_for_it() {
    for ahead in [1, 3, PARTS_AHEAD] {
        let source = fickle(LONG, |_, _| Fate::Late(5));
        assert!(read(&source, Fate::Comes, ahead).await.expect("read") == source.content);
        let most = source.most.load(Ordering::Relaxed);
        assert!(most <= ahead, "{most} parts under way of {ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_breaks_off_goes_on_at_its_last_byte_over_another_connection() {
    let tripped = AtomicUsize::new(0);
    let source = fickle(LONG, move |_, at| {
        let odd = [Fate::Breaks(100_000), Fate::Short(1), Fate::Breaks(0), Fate::NotReached, Fate::Long];
        match at % PART_BYTES {
            0 if at / PART_BYTES < 6 => odd[tripped.fetch_add(1, Ordering::Relaxed) % odd.len()],
            _ => Fate::Comes,
        }
    });
    assert!(read(&source, Fate::Breaks(70_000), PARTS_AHEAD).await.expect("read") == source.content);
    let asked = source.asked.lock().expect("whole");
    assert!(asked.iter().any(|(_, bytes)| bytes.start == 70_000 && bytes.end == PART_BYTES), "{asked:?}");
    assert!(asked.iter().any(|(_, bytes)| bytes.start % PART_BYTES == 100_000), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_are_left_and_one_that_is_there_is_enough() {
    let source = fickle(LONG, |lane, _| if lane == 0 { Fate::Comes } else { Fate::NotReached });
    assert!(read(&source, Fate::Comes, 2).await.expect("read") == source.content);
    let elsewhere = source.asked.lock().expect("whole").iter().filter(|(lane, _)| *lane != 0).count();
    assert!(elsewhere <= 2 * usize::from(BULK_LANES), "{elsewhere} requests where nobody answers");
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_away_and_a_version_that_is_gone_are_errors() {
    for (fate, code) in [
        (Fate::NotReached, Code::Unavailable),
        (Fate::Changed, Code::Conflict),
        (Fate::Breaks(0), Code::Unavailable),
        (Fate::Short(0), Code::Unavailable),
    ] {
        let source = fickle(LONG, move |_, at| if at < 3 * PART_BYTES { Fate::Comes } else { fate });
        let problem = read(&source, Fate::Comes, PARTS_AHEAD).await.expect_err("not all of it came");
        assert_eq!(problem.code, code, "{fate:?}");
        let asked = source.asked.lock().expect("whole").len();
        assert!(asked <= PARTS_AHEAD * PART_ATTEMPTS as usize, "{asked} requests");
    }
}
