//! The gateway's edge in virtual time: what `gateway::store` does on a thread of its own, with a disk that takes its time.

use crate::disk::Disk;
use crate::settings::Settings;
use gateway::im::home_of;
use gateway::im::mail::Mail;
use gateway::im::persist::Recovered;
use gateway::metrics::StoreMetrics;
use gateway::store::{self, Store, Writer};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::ShardIndex;
use wire::shard::virtual_time::World;
use wire::time::Time;

/// How long a commit takes.
const COMMIT: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(8);

pub(crate) struct Edge {
    disk: Disk,
    writer: Writer,
    /// The commit under way ends then, with these answers.
    committing: Option<(Time, Vec<(ShardIndex, Mail)>)>,
    /// When the next alarm comes.
    alarm: Option<Time>,
    key: u64,
}

impl Edge {
    /// Opens the store on `disk`, for a gateway with this seed, and gives what was owed in it. Its alarms have this key.
    pub(crate) fn open(
        disk: Disk,
        settings: &Settings,
        seed: u64,
        metrics: &Arc<StoreMetrics>,
        now: Time,
        key: u64,
    ) -> Result<(Edge, Vec<Recovered>), String> {
        let opened = store::Disk::on(disk.clone()).map_err(|error| error.to_string())?;
        let (shards, dedup_window) = (settings.shards, settings.limits.dedup_window);
        let home = |name: &str| home_of(seed, name, shards);
        let (store, recovered) =
            Store::recover(opened, shards, &home, now.0, dedup_window).map_err(|error| error.to_string())?;
        let metrics = Arc::clone(metrics);
        let writer = Writer::new(store, store::Settings { shards, metrics, wall_offset_ns: 0, dedup_window });
        Ok((Edge { disk, writer, committing: None, alarm: None, key }, recovered))
    }

    /// Takes mail that has come, writes what is due, and gives what is to be posted.
    pub(crate) fn work(
        &mut self,
        mail: impl Iterator<Item = (ShardIndex, Mail)>,
        world: &mut World,
    ) -> Vec<(ShardIndex, Mail)> {
        let now = world.now();
        for (from, mail) in mail {
            if let Mail::Persist { ticket, ops, is_awaited } = mail {
                self.writer.take(from, ticket, &ops, is_awaited, now);
            }
        }
        let answers = match self.committing.take() {
            Some((end, answers)) if end <= now => {
                self.disk.settle();
                answers
            }
            under_way => {
                self.committing = under_way;
                Vec::new()
            }
        };
        if self.committing.is_none() && self.writer.due().is_some_and(|due| due <= now) {
            // A disk that fails is told to the shards with the answers.
            let _ = self.writer.commit(|| now);
            let end = now + world.random().duration(&COMMIT);
            self.committing = Some((end, self.writer.answers()));
        }
        self.set_alarm(world);
        answers
    }

    fn set_alarm(&mut self, world: &mut World) {
        let due = self.committing.as_ref().map(|(end, _)| *end).or(self.writer.due());
        let alarm = self.alarm.filter(|at| *at > world.now());
        if let Some(due) = due.filter(|due| alarm.is_none_or(|at| *due < at)) {
            self.alarm = Some(due);
            world.set_alarm(due, self.key);
        }
    }

    /// The process ends after all shards have: what was posted is written, and the store is closed.
    pub(crate) fn stop(mut self, mail: impl Iterator<Item = (ShardIndex, Mail)>, world: &mut World) -> Disk {
        self.work(mail, world);
        let _ = self.writer.commit(|| world.now());
        let disk = self.disk.clone();
        drop(self);
        disk.next()
    }

    /// The machine stops.
    pub(crate) fn crash(&self, world: &mut World) -> Disk {
        self.disk.crash(world.random())
    }

    pub(crate) fn settle(&self) {
        self.disk.settle();
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// From now on the disk fails.
    pub(crate) fn break_down(&self) {
        self.disk.break_down();
    }
}
