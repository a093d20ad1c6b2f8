//! How much a shard holds of what has a bound.

use super::connection::Conn;
use super::durable::Durable;
use super::registry::Registry;
use super::session::SessionState;
use super::shard::Shard;
use super::user::DeviceState;

/// The largest of each kind on one shard at a moment, and what is held in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Ids that one session remembers.
    pub ids: usize,
    /// Deliveries of one session that are written and not acknowledged.
    pub unacked: usize,
    /// Messages in the offline queue of one user.
    pub queued: usize,
    /// Routes remembered.
    pub routes: usize,
    /// Deliveries in mail that waits for the store: of them no figure tells.
    pub held: usize,
    /// Sessions, open or about to be.
    pub sessions: usize,
}

impl Shard {
    /// Measures what is here: every session, connected or not, and every queue. For a simulation, which looks after every step.
    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes { routes: self.routes.len(), ..Sizes::default() };
        for conn in &self.conns {
            sizes.sessions += usize::from(matches!(conn, Conn::Attaching(_) | Conn::Open(_)));
            if let Conn::Open(open) = conn {
                sizes.add(&open.session.state);
            }
        }
        self.registry.add_sizes(&mut sizes);
        sizes.held += self.durable.as_ref().map_or(0, Durable::deliveries_held);
        sizes
    }
}

impl Sizes {
    fn add(&mut self, state: &SessionState) {
        self.ids = self.ids.max(state.queues.dedup.len());
        self.unacked = self.unacked.max(state.queues.unacked.len());
    }
}

impl Registry {
    fn add_sizes(&self, sizes: &mut Sizes) {
        let held = self.duties.outbox.iter().flat_map(|outbox| &outbox.held);
        sizes.held += held.map(|(_, mail)| mail.deliveries()).sum::<usize>();
        for user in self.users.values() {
            sizes.queued = sizes.queued.max(user.rest.offline.len());
            for device in &user.devices {
                if let DeviceState::Detached(away) = &device.state {
                    sizes.add(&away.state);
                }
            }
        }
    }
}
