//! Holders and relays towards the server above. Here the reads are checked.

use super::event::{Event, Open};
use super::{FAR, FIRST_LEAF, HOME, NEAR, Node, NodeId, Process, ReadCall, Role, World, session_of};
use terms::Epoch;
use webfs::model::ObjectVersion;
use webfs::rules::{
    Answer, Hello, Holder, HolderAction, HolderEvent, HomeEvent, HomeLeases, HomeStart, ReadFailure, Relay,
    RelayAction, RelayEvent,
};

/// A request that is not answered by then has failed: true milliseconds.
pub(super) const ANSWER_MS: u64 = 3_000;

impl World {
    pub(super) fn start(&mut self, node: NodeId) {
        let now = self.nodes[node].clock.boot(self.scheduler.now());
        let session = session_of(node, self.nodes[node].life);
        let role = match node {
            HOME => {
                let recorded = self.store.recorded.iter().map(|(id, holder)| (*id, holder.clone())).collect();
                let start = HomeStart { epoch: Epoch(1), change: self.store.change, locks: 0, recorded };
                Role::Home(HomeLeases::start(self.rules, now, start))
            }
            NEAR | FAR => Role::Relay(Relay::new(self.rules, now, session)),
            _ => Role::Leaf(Holder::new(self.rules, session)),
        };
        let (streams, opens, granted, reads, answers, changes) = Default::default();
        self.nodes[node].process = Some(Process {
            role,
            stream: None,
            connecting: false,
            streams,
            opens,
            granted,
            reads,
            answers,
            changes,
            next: 0,
            tick_at: None,
            cached_since_heal: 0,
        });
        if node == HOME {
            return self.home_step(HomeEvent::Tick);
        }
        for (object, version) in self.nodes[node].disk.clone() {
            self.step_above(node, HolderEvent::Load { object, version });
        }
        self.reconnect(node);
    }

    /// Takes what concerns the node as a holder; gives back the rest.
    pub(super) fn at_holder(&mut self, node: NodeId, event: Event) -> Option<Event> {
        match event {
            Event::Tick { .. } => {
                if let Some(process) = &mut self.nodes[node].process {
                    process.tick_at = None;
                }
                match node {
                    HOME => self.home_step(HomeEvent::Tick),
                    _ => self.step_above(node, HolderEvent::Tick),
                }
            }
            Event::Connect { .. } => self.connect(node),
            Event::StreamOpened { stream, .. } => {
                if let Some(process) = &mut self.nodes[node].process {
                    process.connecting = false;
                    process.stream = Some((stream, 0));
                    self.step_above(node, HolderEvent::Connected);
                }
            }
            Event::StreamLost { stream, .. } => {
                if let Some(connection) = self.connection(node, stream) {
                    self.step_above(node, HolderEvent::Lost { connection });
                    self.reconnect(node);
                }
            }
            Event::FromAbove { stream, message, .. } => {
                if let Some(connection) = self.connection(node, stream).filter(|_| self.network.is_whole(stream)) {
                    self.step_above(node, HolderEvent::Told { connection, message });
                }
            }
            Event::Dropped { connection, change, objects, .. } => {
                self.step_above(node, HolderEvent::Dropped { connection, change, objects });
            }
            Event::Read => self.read(node),
            Event::Answered { request, answer, .. } => {
                if let (Answer::Found { version, .. }, Some(process)) = (answer, &mut self.nodes[node].process) {
                    process.answers.insert(request, version);
                }
                self.step_above(node, HolderEvent::Answered { request, answer });
                if let Some(process) = &mut self.nodes[node].process {
                    process.answers.remove(&request);
                }
            }
            other => return Some(other),
        }
        None
    }

    fn connection(&self, node: NodeId, stream: u64) -> Option<u64> {
        let (present, connection) = self.nodes[node].process.as_ref()?.stream?;
        (present == stream).then_some(connection)
    }

    /// A stream broke: its end may notice.
    pub(super) fn lose_stream(&mut self, node: NodeId, stream: u64) {
        if self.dice.happens(800) {
            let event = Event::StreamLost { life: self.nodes[node].life, stream };
            self.scheduler.after(self.dice.below(300), node, event);
        }
    }

    fn reconnect(&mut self, node: NodeId) {
        let life = self.nodes[node].life;
        let Some(process) = &mut self.nodes[node].process else { return };
        process.stream = None;
        if !process.connecting {
            process.connecting = true;
            self.scheduler.after(self.dice.between(50, 1_000), node, Event::Connect { life });
        }
    }

    fn connect(&mut self, node: NodeId) {
        let (now, life, server) = (self.scheduler.now(), self.nodes[node].life, self.nodes[node].server);
        let cut = self.network.is_cut(now, node, server) || self.network.is_cut(now, server, node);
        if self.nodes[server].process.is_none() || cut {
            return self.scheduler.after(self.dice.between(200, 1_500), node, Event::Connect { life });
        }
        let stream = self.network.open(node, server);
        self.scheduler.after(self.dice.between(1, 100), node, Event::StreamOpened { life, stream });
    }

    /// Something happens to the node as a holder.
    pub(super) fn step_above(&mut self, node: NodeId, event: HolderEvent) {
        let now = self.nodes[node].clock.boot(self.scheduler.now());
        let Some(process) = &mut self.nodes[node].process else { return };
        match &mut process.role {
            Role::Home(_) => {}
            Role::Leaf(holder) => {
                let actions = holder.step(now, event);
                actions.into_iter().for_each(|action| self.act_above(node, action));
            }
            Role::Relay(relay) => {
                let actions = relay.step(now, RelayEvent::Above(event));
                self.act_relay(node, actions);
            }
        }
        self.plan_tick(node);
    }

    pub(super) fn act_relay(&mut self, node: NodeId, actions: Vec<RelayAction>) {
        for action in actions {
            match action {
                RelayAction::Above(action) => self.act_above(node, action),
                RelayAction::Below(action) => self.act_below(node, action),
                RelayAction::Opened { token, change, callback } => {
                    if let Some(process) = &mut self.nodes[node].process {
                        process.granted.insert(token, (change, callback));
                    }
                }
            }
        }
    }

    pub(super) fn plan_tick(&mut self, node: NodeId) {
        let Node { clock, life, process: Some(process), .. } = &mut self.nodes[node] else { return };
        let deadline = match &process.role {
            Role::Home(home) => home.next_deadline(),
            Role::Relay(relay) => relay.next_deadline(),
            Role::Leaf(holder) => holder.next_deadline(),
        };
        if let Some(at) = deadline.map(|deadline| clock.true_time(deadline))
            && process.tick_at.is_none_or(|planned| at < planned)
        {
            process.tick_at = Some(at);
            self.scheduler.at(at, node, Event::Tick { life: *life });
        }
    }

    fn act_above(&mut self, node: NodeId, action: HolderAction) {
        self.record.note(self.scheduler.now(), || format!("    node {node}: {action:?}"));
        let (life, server) = (self.nodes[node].life, self.nodes[node].server);
        let Some(process) = &mut self.nodes[node].process else { return };
        match action {
            HolderAction::Greet(hello) => {
                let Some((stream, _)) = process.stream else { return };
                process.stream = Some((stream, hello.connection));
                self.send_up(node, stream, Event::Greeted { stream, hello, from: node });
            }
            HolderAction::Send { connection, message } => {
                let present = process.stream.filter(|(_, number)| *number == connection);
                let Some((stream, connection)) = present else { return };
                let hello = Hello { session: session_of(node, life), connection };
                self.send_up(node, stream, Event::Told { stream, hello, message });
            }
            HolderAction::Close { connection, .. } => {
                if process.stream.is_some_and(|(_, number)| number == connection) {
                    self.reconnect(node);
                }
            }
            HolderAction::Drop { connection, change, objects } => {
                let event = Event::Dropped { life, connection, change, objects };
                self.scheduler.after(self.dice.below(20), node, event);
            }
            HolderAction::Ask { request, stream, object } => {
                let open = Open { from: node, life, request, stream, object };
                for at in self.network.message(&self.dice, self.scheduler.now(), node, server) {
                    self.scheduler.at(at, server, Event::Opened(open.clone()));
                }
                self.scheduler.after(ANSWER_MS, node, Event::Answered { life, request, answer: Answer::Failed });
            }
            HolderAction::ServeCached { waiter, object, version } => {
                let on_disk = self.nodes[node].disk.get(&object).copied();
                if on_disk != Some(version) {
                    let what = format!("node {node} takes {object} {version} for cached, the disk has {on_disk:?}");
                    return self.violated(what);
                }
                self.serve(node, waiter, version, true);
            }
            HolderAction::ServeAnswer { waiter, request, keep } => {
                let version = process.answers.get(&request).copied().unwrap_or_default();
                let read = process.reads.get(&waiter).map(|call| &call.object);
                let opened = process.opens.get(&waiter).map(|open| &open.object);
                if let Some(object) = read.or(opened).filter(|_| keep).cloned() {
                    self.nodes[node].disk.insert(object, version);
                }
                self.serve(node, waiter, version, false);
            }
            HolderAction::Fail { waiter, failure } => {
                process.opens.remove(&waiter);
                process.reads.remove(&waiter);
                self.counts.failed += 1;
                if let ReadFailure::RolledBack { seen, offered } = failure {
                    self.violated(format!("node {node} refused {offered} after {seen}, and all are honest"));
                }
            }
            HolderAction::Locked { .. } | HolderAction::NotLocked { .. } | HolderAction::LockLost { .. } => {}
        }
    }

    fn send_up(&mut self, node: NodeId, stream: u64, event: Event) {
        let to = self.network.other_end(stream, node);
        match to.and_then(|to| Some((to, self.network.frame(&self.dice, self.scheduler.now(), stream, to)?))) {
            Some((to, at)) => self.scheduler.at(at, to, event),
            None => self.lose_stream(node, stream),
        }
    }

    fn read(&mut self, node: NodeId) {
        self.scheduler.after(self.dice.between(1, 2 * self.read_every_ms), node, Event::Read);
        let object = self.dice.one_of(&self.objects).clone();
        let (since, floor) = (self.scheduler.now(), self.store.version(&object));
        let Some(process) = &mut self.nodes[node].process else { return };
        process.next += 1;
        let waiter = process.next;
        process.reads.insert(waiter, ReadCall { object: object.clone(), since, floor });
        self.step_above(node, HolderEvent::Read { waiter, object });
    }

    /// A read is served: one of the node's own, or one for an open from below.
    fn serve(&mut self, node: NodeId, waiter: u64, version: ObjectVersion, cached: bool) {
        let healed = self.healed;
        let Some(process) = &mut self.nodes[node].process else { return };
        if node < FIRST_LEAF {
            let Some(open) = process.opens.remove(&waiter) else { return };
            let (change, callback) = process.granted.remove(&waiter).unwrap_or_default();
            self.counts.relayed += u64::from(cached && callback);
            return self.answer(node, &open, Answer::Found { version, change, callback });
        }
        let Some(ReadCall { object, floor, .. }) = process.reads.remove(&waiter) else { return };
        process.cached_since_heal += u64::from(healed && cached);
        self.counts.cached += u64::from(cached);
        self.counts.answered += u64::from(!cached);
        if version < floor {
            let from = if cached { "its cache" } else { "an answer" };
            self.violated(format!(
                "holder {node} served {object} {version} from {from}, {floor} was committed before the read began"
            ));
        }
    }
}
