//! What a home knows of one user: devices, what waits, and the route as others were told it.

use super::limits::SharedBucket;
use super::mail::{Mail, SessionRef};
use super::owed::Owed;
use super::rare::{Part, Rare};
use super::session::{Resume, SessionState};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::{Io, ShardIndex};
use wire::time::Time;

/// Shards are named in 64-bit sets.
pub(crate) const SHARDS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct User {
    /// No room to spare: one is the usual case, and for ever.
    pub(super) devices: Box<[Device]>,
    pub(super) rest: Rare<Rest>,
}

/// What is to be known of a user beyond the devices, unless nobody writes, comes or goes.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) offline: VecDeque<Owed>,
    /// The route as last told to other shards.
    pub(super) told: Option<Arc<[SessionRef]>>,
    /// Who was told it, one bit per shard.
    pub(super) told_to: u64,
    /// Fences under way.
    pub(super) fences: usize,
    /// Devices that want to begin a session.
    pub(super) attaching: VecDeque<Attaching>,
    /// Shards that wait for an answer, one bit each.
    pub(super) asking: u64,
    /// What the user may send over all sessions; kept while devices are known, so that a reconnect is no way round it.
    pub(super) bucket: Option<Arc<SharedBucket>>,
    /// When the edge was last told that messages wait.
    pub(super) pushed: Option<Time>,
}

impl Part for Rest {
    const NEW: Rest = Rest {
        offline: VecDeque::new(),
        told: None,
        told_to: 0,
        fences: 0,
        attaching: VecDeque::new(),
        asking: 0,
        bucket: None,
        pushed: None,
    };
    const IDLE: &'static Rest = &Self::NEW;

    fn is_idle(&self, _: Time) -> bool {
        let is_empty = self.offline.is_empty() && self.attaching.is_empty();
        is_empty && self.is_settled() && self.bucket.is_none() && self.pushed.is_none()
    }
}

impl Rest {
    /// No shard knows the route, waits for it or is being made to forget it.
    fn is_settled(&self) -> bool {
        (self.told_to, self.fences, self.asking) == (0, 0, 0)
    }
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Arc<str>,
    /// Its session, or the last one it had.
    pub(super) session: SessionRef,
    /// When the client's request for it arrived.
    pub(super) since: Time,
    pub(super) state: DeviceState,
    /// Deliveries that came back from a session that is ending, until its state is here.
    pub(super) returned: Rare<Vec<Owed>>,
}

#[derive(Debug)]
pub(super) enum DeviceState {
    Attached,
    /// Attached, and told to end.
    Evicting,
    Detached(Box<Away>),
}

/// A device that is not connected.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) state: SessionState,
    pub(super) since: Time,
}

impl Part for Vec<Owed> {
    const NEW: Vec<Owed> = Vec::new();
    const IDLE: &'static Vec<Owed> = &Self::NEW;

    fn is_idle(&self, _: Time) -> bool {
        self.is_empty()
    }
}

/// A device that wants to begin a session.
#[derive(Debug)]
pub(super) struct Attaching {
    pub(super) device: Arc<str>,
    pub(super) session: SessionRef,
    pub(super) resume: Option<Resume>,
    /// When its request for the upgrade arrived.
    pub(super) since: Time,
}

impl User {
    /// Whether the device has a connection, or had one, that was begun after this one.
    pub(super) fn knows_newer(&self, attaching: &Attaching) -> bool {
        let waiting = self.rest.attaching.iter().map(|other| (&other.device, other.since));
        let known = self.devices.iter().map(|device| (&device.name, device.since));
        waiting.chain(known).any(|(name, since)| *name == attaching.device && since > attaching.since)
    }

    pub(super) fn add(&mut self, device: Device) {
        let mut devices = std::mem::take(&mut self.devices).into_vec();
        devices.reserve_exact(1);
        devices.push(device);
        self.devices = devices.into();
    }

    pub(super) fn remove(&mut self, index: usize) -> Device {
        let mut devices = std::mem::take(&mut self.devices).into_vec();
        let device = devices.remove(index);
        self.devices = devices.into();
        device
    }

    /// Makes every shard that was told the route forget it, with a fence along each old way.
    pub(super) fn withdraw_route(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        if self.rest.told_to == 0 {
            return;
        }
        let rest = &mut *self.rest;
        let home = io.shard();
        let mut through: Vec<ShardIndex> =
            rest.told.iter().flat_map(|told| told.iter()).map(|session| session.shard).collect();
        through.sort_unstable();
        through.dedup();
        if through.is_empty() {
            // An offline user's messages went to the home.
            through.push(home);
        }
        let through: Arc<[ShardIndex]> = through.into();
        for shard in shards(std::mem::take(&mut rest.told_to)) {
            rest.fences += through.len();
            io.post(shard, Mail::Forget { user: Arc::clone(user), home, through: Arc::clone(&through) });
        }
    }

    /// Takes out the device that has been away longest, if there are too many.
    pub(super) fn make_room(&mut self, devices_max: usize) -> Option<Device> {
        if self.devices.len() < devices_max {
            return None;
        }
        let away = |(index, device): (usize, &Device)| match &device.state {
            DeviceState::Detached(away) => Some((away.since, index)),
            DeviceState::Attached | DeviceState::Evicting => None,
        };
        let (_, index) = self.devices.iter().enumerate().filter_map(away).min()?;
        Some(self.remove(index))
    }

    /// Whether as many devices as there may be are known, all of them connected.
    pub(super) fn is_full(&self, devices_max: usize) -> bool {
        self.devices.len() >= devices_max && self.devices.iter().all(Device::is_attached)
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.devices.is_empty() && self.rest.offline.is_empty() && self.rest.attaching.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holds_nothing() && self.rest.is_settled()
    }
}

impl Device {
    pub(super) fn is_attached(&self) -> bool {
        matches!(self.state, DeviceState::Attached | DeviceState::Evicting)
    }

    pub(super) fn is_over(&self, now: Time, session_ttl: Duration) -> bool {
        matches!(&self.state, DeviceState::Detached(away) if now.since(away.since) > session_ttl)
    }

    /// What the device was owed when it disconnected, oldest first.
    pub(super) fn into_owed(self) -> VecDeque<Owed> {
        match self.state {
            DeviceState::Detached(away) => away.state.into_owed(),
            DeviceState::Attached | DeviceState::Evicting => VecDeque::new(),
        }
    }

    /// Whether something that its last session sent may be on its way, which messages from `next` could overtake.
    pub(super) fn needs_fences(&self, next: ShardIndex) -> bool {
        matches!(&self.state, DeviceState::Detached(away) if away.state.sent_to != 0)
            && self.session.shard != next
    }

    /// Sends fences along the ways that the messages of its last session took, and counts them: what comes after the last of them
    /// has come home, comes behind those messages.
    pub(super) fn send_fences(&mut self, user: &Arc<str>, fences: &mut usize, io: &mut Io<Mail>) {
        let DeviceState::Detached(away) = &mut self.state else { return };
        let through: Arc<[ShardIndex]> = shards(std::mem::take(&mut away.state.sent_to)).collect();
        if !through.is_empty() {
            *fences += through.len();
            let mail = Mail::Forget { user: Arc::clone(user), home: io.shard(), through };
            io.post(self.session.shard, mail);
        }
    }

    /// Attaches the device again and gives the state that its last session left.
    pub(super) fn begin(&mut self, session: SessionRef, since: Time) -> SessionState {
        (self.session, self.since) = (session, since);
        match std::mem::replace(&mut self.state, DeviceState::Attached) {
            DeviceState::Detached(away) => away.state,
            DeviceState::Attached | DeviceState::Evicting => SessionState::default(),
        }
    }
}

pub(super) fn shards(set: u64) -> impl Iterator<Item = ShardIndex> {
    (0..SHARDS_MAX).filter(move |shard| set & (1 << shard) != 0)
}

/// Appends what came later; what did not, because it was owed to a device that is forgotten, goes to its place by age.
pub(super) fn append_in_order(owed: &mut VecDeque<Owed>, later: VecDeque<Owed>) {
    let is_in_order = match (owed.back(), later.front()) {
        (Some(last), Some(next)) => last.accepted <= next.accepted,
        _ => true,
    };
    owed.extend(later);
    if !is_in_order {
        owed.make_contiguous().sort_by_key(|owed| owed.accepted);
    }
}
