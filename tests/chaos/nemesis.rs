//! What happens to the processes and to the network while they work.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::crew::Member;
use crate::instance::Order;
use crate::log::Log;
use crate::plan::Plan;
use crate::proxy::Proxy;
use crate::support::dice::Dice;

/// Between two strikes, at most.
const PAUSE_MS: usize = 500;
/// A process that has not logged so much has hardly begun.
const WORKS_BYTES: u64 = 3_000;

pub(crate) struct Nemesis<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) dice: Dice,
    pub(crate) folder: &'p Path,
    pub(crate) log: Log,
    pub(crate) members: Vec<Member>,
    /// The URL of the database, by way of a port.
    pub(crate) url: Box<dyn Fn(Option<u16>) -> String + Send + 'p>,
    /// The port of the server.
    pub(crate) server: Option<u16>,
    pub(crate) started: u64,
    pub(crate) strikes: u64,
    pub(crate) violations: Vec<String>,
}

impl Nemesis<'_> {
    /// Starts one more process.
    pub(crate) async fn start(&mut self) {
        self.started += 1;
        let name = format!("i{}", self.started);
        let proxy = match self.server {
            Some(port) => Some(Proxy::before(port).await),
            None => None,
        };
        let Plan { lease, lazy, pause, mirror_failures, .. } = *self.plan;
        let order = Order {
            database: self.plan.database.name().to_owned(),
            log: self.folder.join(format!("{name}.log")),
            seed: self.dice.roll(),
            url: (self.url)(proxy.as_ref().map(|proxy| proxy.port)),
            name,
            lease,
            lazy,
            pause,
            mirror_failures,
        };
        self.members.push(Member::start(&order, self.folder, proxy));
    }

    pub(crate) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.dice.below(PAUSE_MS) as u64)
    }

    /// Ends what was to last until now, and starts processes in place of those that are gone.
    pub(crate) async fn pass(&mut self) {
        let now = Instant::now();
        for member in &mut self.members {
            if member.stopped.is_some_and(|until| until <= now) {
                self.log.note(format_args!("{} goes on", member.name));
                member.resume();
            }
            if member.bad.is_some_and(|until| until <= now) {
                member.bad = None;
                if let Some(proxy) = &member.proxy {
                    self.log.note(format_args!("the network of {} is well again", member.name));
                    proxy.cut();
                    proxy.clear();
                }
            }
        }
        for place in (0..self.members.len()).rev() {
            if let Some(fault) = self.members[place].fault() {
                self.violations.push(fault);
                self.members.remove(place);
            }
        }
        if self.members.len() < self.plan.instances {
            self.start().await;
        }
    }

    pub(crate) async fn strike(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let (place, what) = (self.dice.below(self.members.len()), self.dice.below(12));
        let well = self.members.iter().filter(|member| member.is_well(WORKS_BYTES)).count();
        let member = &mut self.members[place];
        // As a rule one of them works, and one that hardly works is let alone.
        if (well < 2 && !self.dice.one_in(6))
            || (!member.is_well(WORKS_BYTES) && !self.dice.one_in(6))
        {
            return;
        }
        self.strikes += 1;
        let lasts = self.plan.lease.mul_f64(0.2 + self.dice.below(20) as f64 / 10.0);
        let until = Instant::now() + lasts;
        let name = member.name.clone();
        match (what, &member.proxy) {
            (0 | 1, _) => {
                self.log.note(format_args!("{name} is killed"));
                self.members.remove(place).kill().await;
            }
            (2, _) if member.stopped.is_none() => {
                self.log.note(format_args!("{name} is asked to end"));
                let member = self.members.remove(place);
                self.violations.extend(member.end().await);
            }
            (3..=5, _) if member.stopped.is_none() => {
                self.log.note(format_args!("{name} is stopped for {lasts:?}"));
                member.stop(until);
            }
            (6 | 7, Some(proxy)) => {
                let delay = Duration::from_millis(1 + self.dice.below(12) as u64);
                self.log.note(format_args!("messages of {name} take {delay:?} for {lasts:?}"));
                proxy.delay(delay);
                member.bad = Some(until);
            }
            (8, Some(proxy)) => {
                self.log.note(format_args!("connections of {name} are frozen for {lasts:?}"));
                proxy.freeze();
                member.bad = Some(until);
            }
            (9 | 10, Some(proxy)) => {
                self.log.note(format_args!("connections of {name} are cut"));
                proxy.cut();
            }
            (11, Some(proxy)) => {
                self.log.note(format_args!("{name} is cut off for {lasts:?}"));
                proxy.close();
                proxy.cut();
                member.bad = Some(until);
            }
            _ => {}
        }
    }

    /// All processes end.
    pub(crate) async fn end(&mut self) {
        for member in &mut self.members {
            if let Some(proxy) = &member.proxy {
                proxy.cut();
                proxy.clear();
            }
            member.resume();
        }
        for member in std::mem::take(&mut self.members) {
            self.violations.extend(member.end().await);
        }
    }
}
