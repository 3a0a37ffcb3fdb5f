//! The two memories that a world keeps for its console: what happened, and one point a second. Both are bounded.

use super::limits::{EVENT_QUEUE, HISTORY_POINTS, MAX_EVENTS};
use super::model::{ConsoleEvent, EventKind, Point};
use std::collections::VecDeque;
use terms::{Label, UnixMs};
use tokio::sync::broadcast;

/// What happened: numbers each event, keeps the last [`MAX_EVENTS`], and tells those who listen.
#[derive(Debug)]
pub struct Journal {
    events: VecDeque<ConsoleEvent>,
    last_id: u64,
    listeners: broadcast::Sender<ConsoleEvent>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { events: VecDeque::new(), last_id: 0, listeners: broadcast::Sender::new(EVENT_QUEUE) }
    }
}

impl Journal {
    /// Writes down one event and answers with it as numbered.
    pub fn record(&mut self, at: UnixMs, kind: EventKind, node: Option<Label>, text: String) -> ConsoleEvent {
        self.last_id += 1;
        let event = ConsoleEvent { id: self.last_id, at, kind, node, text };
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        // No listener is no fault: no page is open.
        let _ = self.listeners.send(event.clone());
        event
    }

    /// The events kept, oldest first.
    pub fn events(&self) -> Vec<ConsoleEvent> {
        self.events.iter().cloned().collect()
    }

    /// Everything recorded from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ConsoleEvent> {
        self.listeners.subscribe()
    }
}

/// One point a second, the last [`HISTORY_POINTS`].
#[derive(Debug, Default)]
pub struct History(VecDeque<Point>);

impl History {
    /// Adds a point. One that is not later than the last is left out, so that times rise strictly: take them
    /// from the wall clock at the start plus the boot clock since, lest a wall clock set back stop the charts.
    pub fn push(&mut self, point: Point) {
        if self.0.back().is_some_and(|last| point.t <= last.t) {
            return;
        }
        if self.0.len() == HISTORY_POINTS {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// The points kept, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_numbers_keeps_the_last_and_tells() {
        let mut journal = Journal::default();
        let mut listener = journal.subscribe();
        for number in 1..=MAX_EVENTS as u64 + 3 {
            let event = journal.record(UnixMs(number), EventKind::Note, None, format!("event {number}"));
            assert_eq!(event.id, number);
            if number == 1 {
                assert_eq!(listener.try_recv(), Ok(event));
            }
        }
        let events = journal.events();
        assert_eq!((events.len(), events[0].id), (MAX_EVENTS, 4));
    }

    #[test]
    fn history_is_bounded_and_rises() {
        let mut history = History::default();
        let point = |t| Point { t: UnixMs(t), rps: 0.0, mean_ms: None, p99_ms: None, servers: 1 };
        for t in 1..=HISTORY_POINTS as u64 + 1 {
            history.push(point(t));
        }
        history.push(point(5));
        let points = history.points();
        assert_eq!((points.len(), points[0].t), (HISTORY_POINTS, UnixMs(2)));
        assert!(points.windows(2).all(|pair| pair[0].t < pair[1].t));
    }
}
