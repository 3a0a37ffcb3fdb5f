//! Changes whose sender has given up.

use super::{Conditions, cat, code, put_if, volume};
use std::time::Duration;
use terms::{Code, OperationId, SessionId};
use world::World;

#[tokio::test]
async fn what_comes_too_late_is_not_done_and_what_was_done_is_answered_however_late() {
    let (world, clock) = World::simulated(1);
    let (_dir, store) = volume(&world);
    let operation = OperationId { session: SessionId([7; 16]), sequence: 1 };
    let until = world.clock.boot().plus(Duration::from_secs(25));
    let conditions = || Conditions { until: Some(until), ..Conditions::none().operation(operation) };
    clock.advance(Duration::from_secs(25));
    let first = put_if(&store, "f", b"in time", conditions()).await.expect("just in time");
    clock.advance(Duration::from_millis(1));
    let again = put_if(&store, "f", b"in time", conditions()).await.expect("done before");
    assert_eq!((again.change, again.replayed), (first.change, true));
    let other = Conditions { operation: None, ..conditions() };
    assert_eq!(code(put_if(&store, "f", b"late", other).await), Some(Code::Timeout));
    assert_eq!(cat(&store, "f").await.expect("there"), b"in time");
}
