//! The home and the relays towards those below them.

use super::event::{Event, Open};
use super::{HOME, NodeId, Role, World, principal};
use terms::{Epoch, Version, VolumePath};
use webfs::gate::Touched;
use webfs::model::ObjectVersion;
use webfs::rules::{Answer, ChangeRef, Down, Hello, HolderEvent, HomeAction, HomeEvent, RelayEvent};

impl World {
    pub(super) fn at_server(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Greeted { stream, hello, from } if self.network.is_whole(stream) => {
                if let Some(process) = &mut self.nodes[node].process {
                    process.streams.insert(hello, stream);
                }
                self.step_below(node, HomeEvent::Hello { hello, holder: principal(from) });
            }
            Event::Told { stream, hello, message } if self.network.is_whole(stream) => {
                self.step_below(node, HomeEvent::Told { stream: hello, message });
            }
            Event::Opened(open) => self.opened(node, open),
            Event::ReadStore { open, change, callback, .. } => {
                let version = self.store.version(&open.object);
                self.answer(node, &open, Answer::Found { version, change, callback });
            }
            Event::Compare { hello, request, change, mut objects, .. } => {
                objects.retain(|(object, version)| self.store.version(object) == *version);
                let current = objects.into_iter().map(|(object, _)| object).collect();
                self.send_down(node, hello, Down::Registered { request, change, current });
            }
            Event::Write => self.write(),
            Event::Commit { token, .. } => self.commit(token),
            _ => {}
        }
    }

    pub(super) fn home_step(&mut self, event: HomeEvent) {
        self.step_below(HOME, event);
    }

    fn step_below(&mut self, node: NodeId, event: HomeEvent) {
        let now = self.nodes[node].clock.boot(self.scheduler.now());
        let Some(process) = &mut self.nodes[node].process else { return };
        match &mut process.role {
            Role::Leaf(_) => {}
            Role::Home(home) => {
                let actions = home.step(now, event);
                actions.into_iter().for_each(|action| self.act_below(node, action));
            }
            Role::Relay(relay) => {
                let actions = relay.step(now, RelayEvent::Below(event));
                self.act_relay(node, actions);
            }
        }
        self.plan_tick(node);
    }

    pub(super) fn act_below(&mut self, node: NodeId, action: HomeAction) {
        self.record.note(self.scheduler.now(), || format!("    node {node} below: {action:?}"));
        let life = self.nodes[node].life;
        let Some(process) = &mut self.nodes[node].process else { return };
        match action {
            HomeAction::Record { session, holder } => {
                self.store.recorded.insert(session, holder);
            }
            HomeAction::Forget { session } => {
                self.store.recorded.remove(&session);
            }
            HomeAction::Send { stream, message } => self.send_down(node, stream, message),
            // What a relay is to compare is what it has: its rules have looked. Here everybody may read.
            HomeAction::Compare { stream, request, change, objects } if node != HOME => {
                let current = objects.into_iter().map(|(object, _)| object).collect();
                self.send_down(node, stream, Down::Registered { request, change, current });
            }
            HomeAction::Compare { stream: hello, request, change, objects } => {
                let event = Event::Compare { life, hello, request, change, objects };
                self.scheduler.after(self.dice.below(30), node, event);
            }
            HomeAction::Granted { token, change, callback } => {
                let Some(open) = process.opens.remove(&token) else { return };
                let event = Event::ReadStore { life, open, change, callback };
                self.scheduler.after(self.dice.below(30), node, event);
            }
            HomeAction::Admit { token, .. } => {
                if let Some((.., admitted)) = process.changes.get_mut(&token) {
                    *admitted = true;
                }
                self.scheduler.after(self.dice.below(30), node, Event::Commit { life, token });
            }
            HomeAction::Refuse { token, .. } => {
                process.changes.remove(&token);
            }
            HomeAction::ReserveLocks { .. } => {}
        }
    }

    fn send_down(&mut self, node: NodeId, hello: Hello, message: Down) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(stream) = process.streams.get(&hello).copied() else { return };
        if matches!(message, Down::Bye { .. }) {
            process.streams.remove(&hello);
        }
        let to = NodeId::from(hello.session.0[0]);
        let life = self.nodes[to].life;
        if let Some(at) = self.network.frame(&self.dice, self.scheduler.now(), stream, to) {
            self.scheduler.at(at, to, Event::FromAbove { life, stream, message });
        }
    }

    fn opened(&mut self, node: NodeId, open: Open) {
        let life = self.nodes[node].life;
        let Some(process) = &mut self.nodes[node].process else { return };
        process.next += 1;
        let (token, object, holder) = (process.next, open.object.clone(), principal(open.from));
        match (open.stream, &process.role) {
            (Some(stream), _) => {
                process.opens.insert(token, open);
                self.step_below(node, HomeEvent::Open { token, holder, stream, object });
            }
            (None, Role::Home(home)) => {
                let event = Event::ReadStore { life, open, change: home.change(), callback: false };
                self.scheduler.after(self.dice.below(30), node, event);
            }
            (None, _) => {
                process.opens.insert(token, open);
                self.step_above(node, HolderEvent::Read { waiter: token, object });
            }
        }
    }

    pub(super) fn answer(&mut self, node: NodeId, open: &Open, answer: Answer) {
        for at in self.network.message(&self.dice, self.scheduler.now(), node, open.from) {
            self.scheduler.at(at, open.from, Event::Answered { life: open.life, request: open.request, answer });
        }
    }

    fn write(&mut self) {
        self.scheduler.after(self.dice.between(1, 2 * self.write_every_ms), HOME, Event::Write);
        let since = self.nodes[HOME].clock.boot(self.scheduler.now());
        let object: VolumePath = self.dice.one_of(&self.objects).clone();
        let paused = self.home_paused_ms;
        let Some(process) = &mut self.nodes[HOME].process else { return };
        process.next += 1;
        let token = process.next;
        process.changes.insert(token, (object.clone(), since, paused, false));
        self.home_step(HomeEvent::Change { token, touched: Touched::objects([object]), lock: None });
    }

    fn commit(&mut self, token: u64) {
        let Some(process) = &mut self.nodes[HOME].process else { return };
        let Some((object, ..)) = process.changes.remove(&token) else { return };
        self.store.change = self.store.change.next();
        let version = ObjectVersion { epoch: Epoch(1), version: Version(self.store.change.0) };
        self.store.versions.insert(object, version);
        self.counts.changes += 1;
        let committed = Some(self.store.change);
        self.home_step(HomeEvent::Ended { change: ChangeRef::Token(token), committed });
    }
}
