//! The network of a simulated world: requests that may be lost, doubled, delayed and overtaken, streams that keep
//! their order until they break, and links that are cut one way or both. It only says when something arrives.

use crate::dice::Dice;
use crate::scheduler::NodeId;
use std::collections::BTreeMap;

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Usual delay one way: milliseconds, least and most.
    pub delay_ms: (u64, u64),
    /// How many messages of a thousand are held up.
    pub slow_permille: u64,
    /// For how long at most: milliseconds.
    pub slow_ms: u64,
    /// How many requests and answers of a thousand are lost.
    pub lost_permille: u64,
    /// How many arrive twice.
    pub doubled_permille: u64,
}

impl Weather {
    /// A healthy network.
    pub const CALM: Self =
        Self { delay_ms: (1, 20), slow_permille: 0, slow_ms: 0, lost_permille: 0, doubled_permille: 0 };

    /// The network of a run, held up for at most one of these times: milliseconds.
    pub fn thrown(dice: &Dice, slow_ms: &[u64]) -> Self {
        Self {
            delay_ms: *dice.one_of(&[(0, 2), (1, 20), (20, 60)]),
            slow_permille: *dice.one_of(&[0, 20, 100]),
            slow_ms: *dice.one_of(slow_ms),
            lost_permille: *dice.one_of(&[0, 20, 100]),
            doubled_permille: *dice.one_of(&[0, 50]),
        }
    }
}

/// A stream: in order both ways, until it breaks.
#[derive(Debug)]
struct Stream {
    ends: (NodeId, NodeId),
    last_arrival: BTreeMap<NodeId, u64>,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    /// How bad it is now.
    pub weather: Weather,
    cut_until: BTreeMap<(NodeId, NodeId), u64>,
    streams: BTreeMap<u64, Stream>,
    opened: u64,
}

impl Network {
    /// A network without streams or cuts.
    pub fn new(weather: Weather) -> Self {
        Self { weather, cut_until: BTreeMap::new(), streams: BTreeMap::new(), opened: 0 }
    }

    /// Cuts one direction of a link until then (true time).
    pub fn cut(&mut self, from: NodeId, to: NodeId, until: u64) {
        self.cut_until.insert((from, to), until);
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        self.cut_until.clear();
    }

    /// Whether this direction is cut now.
    pub fn is_cut(&self, now: u64, from: NodeId, to: NodeId) -> bool {
        self.cut_until.get(&(from, to)).is_some_and(|until| *until > now)
    }

    /// When a request or an answer arrives: not at all, once, or twice.
    pub fn message(&self, dice: &Dice, now: u64, from: NodeId, to: NodeId) -> Vec<u64> {
        if self.is_cut(now, from, to) || dice.happens(self.weather.lost_permille) {
            return Vec::new();
        }
        let copies = if dice.happens(self.weather.doubled_permille) { 2 } else { 1 };
        (0..copies).map(|_| now + self.delay(dice)).collect()
    }

    /// Opens a stream.
    pub fn open(&mut self, one: NodeId, other: NodeId) -> u64 {
        self.opened += 1;
        let stream = Stream { ends: (one, other), last_arrival: BTreeMap::new() };
        self.streams.insert(self.opened, stream);
        self.opened
    }

    /// Breaks a stream: nothing that is under way arrives, nothing can be sent.
    pub fn break_stream(&mut self, stream: u64) {
        self.streams.remove(&stream);
    }

    /// Breaks all streams of a node and returns them with their other ends.
    pub fn break_all(&mut self, node: NodeId) -> Vec<(u64, NodeId)> {
        let touches = |stream: &Stream| stream.ends.0 == node || stream.ends.1 == node;
        let other = |stream: &Stream| if stream.ends.0 == node { stream.ends.1 } else { stream.ends.0 };
        let broken: Vec<_> =
            self.streams.iter().filter(|(_, s)| touches(s)).map(|(id, stream)| (*id, other(stream))).collect();
        broken.iter().for_each(|(stream, _)| self.break_stream(*stream));
        broken
    }

    /// Whether a stream is whole: what arrives on a broken one is dropped.
    pub fn is_whole(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }

    /// The other end of a stream, if it is whole.
    pub fn other_end(&self, stream: u64, one: NodeId) -> Option<NodeId> {
        let (a, b) = self.streams.get(&stream)?.ends;
        Some(if a == one { b } else { a })
    }

    /// When a frame arrives at one end of a stream, after all earlier ones; nothing if the stream is broken. A cut
    /// holds frames up, as retransmission does.
    pub fn frame(&mut self, dice: &Dice, now: u64, stream: u64, to: NodeId) -> Option<u64> {
        let delay = self.delay(dice);
        let stream = self.streams.get_mut(&stream)?;
        let from = if stream.ends.0 == to { stream.ends.1 } else { stream.ends.0 };
        let sent = self.cut_until.get(&(from, to)).map_or(now, |until| now.max(*until));
        let last = stream.last_arrival.entry(to).or_default();
        *last = (sent + delay).max(*last);
        Some(*last)
    }

    fn delay(&self, dice: &Dice) -> u64 {
        let (least, most) = self.weather.delay_ms;
        let slow = if dice.happens(self.weather.slow_permille) { dice.below(self.weather.slow_ms) } else { 0 };
        dice.between(least, most) + slow
    }
}
