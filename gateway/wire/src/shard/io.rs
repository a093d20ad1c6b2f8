//! What an application may do in a step. Nothing here touches a socket: a driver carries it out afterwards.

use super::buffers::Buffers;
use super::mailbox::Outboxes;
use super::timers::Timers;
use super::tls::TlsClient;
use super::{Closed, ShardIndex};
use crate::time::Time;
use rustls::ServerConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A connection of this shard. Never used again for another connection (the generation tells them apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the shard's table.
    pub index: u32,
    /// How often that place has been used before.
    pub generation: u32,
}

impl ConnId {
    /// Both halves as one number, for timer keys and epoll.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`ConnId::to_bits`].
    pub fn from_bits(bits: u64) -> ConnId {
        ConnId { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The place is unused.
    Free,
    /// Asked for with [`Io::connect`].
    Connecting,
    /// Bytes flow.
    Open,
    /// Will be closed once what was written has left.
    Closing,
    /// Ended; the application has not been told yet.
    Ended,
}

const NO_BUFFER: u32 = u32::MAX;
/// That all that was written has left.
const DRAIN: u8 = 1;
/// When input arrived.
const ARRIVALS: u8 = 2;

/// The application's side of a connection: 16 bytes when idle.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: State,
    /// The kernel took less than was offered; wait until it is writable.
    pub(super) blocked: bool,
    dirty: bool,
    /// What the application wants to be told: [`DRAIN`], [`ARRIVALS`]. One byte, so that a slot stays at 16.
    wants: u8,
    /// Its output buffer, or none.
    buffer: u32,
    /// Bytes of the buffer that have left.
    sent: u32,
}

/// A connection to be opened.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) conn: ConnId,
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) tls: Option<TlsClient>,
}

/// What an application sees of its shard, and where it leaves what it wants done.
#[derive(Debug)]
pub struct Io<M> {
    now: Time,
    /// The driver's clock; `None`: time stands still during a step.
    clock: Option<fn() -> Time>,
    /// When what is being shown to the application arrived.
    arrived: Time,
    pub(super) mail: Outboxes<M>,
    pub(super) timers: Timers,
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    buffers: Buffers,
    pub(super) dirty: Vec<ConnId>,
    pub(super) connects: Vec<Connect>,
    pub(super) ended: Vec<(ConnId, Closed)>,
    pub(super) resets: Vec<ConnId>,
    /// Connections whose left input is to be shown again.
    pub(super) again: Vec<ConnId>,
    pub(super) stopping: bool,
    /// With what newcomers must speak TLS; `None`: they speak plainly.
    pub(super) acceptor: Option<Arc<ServerConfig>>,
    open: usize,
}

impl<M> Io<M> {
    pub(super) fn new(now: Time, mail: Outboxes<M>) -> Io<M> {
        Io {
            now,
            clock: None,
            arrived: now,
            mail,
            timers: Timers::new(now),
            slots: Vec::new(),
            free: Vec::new(),
            buffers: Buffers::default(),
            dirty: Vec::new(),
            connects: Vec::new(),
            ended: Vec::new(),
            resets: Vec::new(),
            again: Vec::new(),
            stopping: false,
            acceptor: None,
            open: 0,
        }
    }

    /// The time of this step.
    pub fn now(&self) -> Time {
        self.now
    }

    pub(super) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// The time at this very moment: later than [`Io::now`] by what the step has taken so far. In virtual time it takes none.
    /// For measuring; what decides anything asks [`Io::now`].
    pub fn clock(&self) -> Time {
        self.clock.map_or(self.now, |clock| clock())
    }

    pub(super) fn set_clock(&mut self, clock: fn() -> Time) {
        self.clock = Some(clock);
    }

    /// When the bytes arrived that [`super::Application::received`] is being shown. [`Io::now`], unless [`Io::time_arrivals`] was
    /// asked for: then earlier, where they have waited for the shard.
    pub fn arrived(&self) -> Time {
        self.arrived
    }

    /// What was read on `conn` arrived so long ago, which is asked for only if the application wants to know.
    pub(super) fn note_arrival(&mut self, conn: ConnId, age: impl FnOnce() -> Duration) {
        let age = if self.slot(conn).is_some_and(|slot| slot.wants & ARRIVALS != 0) {
            age()
        } else {
            Duration::ZERO
        };
        self.arrived = Time(self.now.0.saturating_sub(age.as_nanos() as u64));
    }

    /// Whether to find out when what comes on `conn` arrived; that costs a system call for each read.
    pub fn time_arrivals(&mut self, conn: ConnId, is_wanted: bool) {
        if let Some(slot) = self.slot_mut(conn) {
            slot.wants = slot.wants & !ARRIVALS | if is_wanted { ARRIVALS } else { 0 };
        }
    }

    /// This shard's number.
    pub fn shard(&self) -> ShardIndex {
        self.mail.index()
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.mail.nodes() - 1
    }

    /// The edge's number in the mail.
    pub fn edge(&self) -> ShardIndex {
        self.shards()
    }

    /// Connections in the table, those being opened included.
    pub fn connections(&self) -> usize {
        self.open
    }

    /// The buffer to append bytes for `conn` to; they leave together at the end of the step. `None` if it is gone.
    pub fn send(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(conn.index as usize)?;
        if slot.generation != conn.generation || slot.state != State::Open {
            return None;
        }
        if slot.buffer == NO_BUFFER {
            slot.buffer = self.buffers.take();
        }
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(conn);
        }
        Some(self.buffers.get_mut(slot.buffer))
    }

    /// Bytes written for `conn` that have not left; 0 if it is gone.
    pub fn backlog(&self, conn: ConnId) -> usize {
        self.slot(conn)
            .filter(|slot| slot.buffer != NO_BUFFER)
            .map_or(0, |slot| self.buffers.get(slot.buffer).len().saturating_sub(slot.sent as usize))
    }

    /// Whether the kernel takes no more bytes for `conn` at present.
    pub fn is_blocked(&self, conn: ConnId) -> bool {
        self.slot(conn).is_some_and(|slot| slot.blocked)
    }

    /// Calls [`super::Application::drained`] when all that was written for `conn` has left.
    pub fn await_drain(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot_mut(conn) {
            slot.wants |= DRAIN;
        }
    }

    /// Whether the application must be told now that nothing is left; it is told once.
    pub(super) fn take_drained(&mut self, conn: ConnId) -> bool {
        let is_empty = self.backlog(conn) == 0;
        let slot = self.slot_mut(conn).filter(|slot| slot.state == State::Open && is_empty);
        let Some(slot) = slot.filter(|slot| slot.wants & DRAIN != 0) else { return false };
        slot.wants &= !DRAIN;
        true
    }

    /// Whether the connection can be written to.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.slot(conn).is_some_and(|slot| slot.state == State::Open)
    }

    /// Closes after what was written has left, and so that the peer sees it even if it is still sending. If the kernel leaves
    /// more than 64 KiB, the connection is reset.
    pub fn close(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot_mut(conn)
            && slot.state == State::Open
        {
            slot.state = State::Closing;
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push(conn);
            }
        }
    }

    /// Cuts the connection with RST; what was written and has not left is dropped.
    pub fn reset(&mut self, conn: ConnId) {
        if self.slot(conn).is_some_and(|slot| !matches!(slot.state, State::Free | State::Ended)) {
            self.resets.push(conn);
        }
    }

    /// Shows what [`super::Application::received`] left of the input again, before this step ends: what it waited for is there.
    ///
    /// Without this it would be shown when more comes, which may be never. Not for use in `received` itself.
    pub fn show_again(&mut self, conn: ConnId) {
        self.again.push(conn);
    }

    /// Opens a connection to `to`, from `from` if given. [`super::Application::opened`] or `closed` tells how it went.
    pub fn connect(&mut self, to: SocketAddr, from: Option<IpAddr>) -> ConnId {
        self.begin_connect(to, from, None)
    }

    /// The same with TLS. What is written before the handshake is over waits for it; a handshake that fails is
    /// [`Closed::Tls`].
    pub fn connect_tls(&mut self, to: SocketAddr, from: Option<IpAddr>, tls: TlsClient) -> ConnId {
        self.begin_connect(to, from, Some(tls))
    }

    fn begin_connect(&mut self, to: SocketAddr, from: Option<IpAddr>, tls: Option<TlsClient>) -> ConnId {
        let conn = self.allocate(State::Connecting);
        self.connects.push(Connect { conn, to, from, tls });
        conn
    }

    /// Whoever is accepted from now on speaks TLS with `config`. Connections that are open stay as they are.
    pub fn accept_tls(&mut self, config: Arc<ServerConfig>) {
        self.acceptor = Some(config);
    }

    /// Calls [`super::Application::timer`] with `key` at `at`, to the next whole millisecond.
    pub fn set_timer(&mut self, at: Time, key: u64) {
        self.timers.set(at, key);
    }

    /// Sends mail to a shard (this one included) or to the edge.
    pub fn post(&mut self, to: ShardIndex, mail: M) {
        self.mail.post(to, mail);
    }

    /// Whether `to` has fallen so far behind that new work for it must be refused.
    pub fn congested(&self, to: ShardIndex) -> bool {
        self.mail.congested(to)
    }

    /// Ends this shard after the step; connections still open are reset.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    pub(super) fn allocate(&mut self, state: State) -> ConnId {
        self.open += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                state: State::Free,
                blocked: false,
                dirty: false,
                wants: 0,
                buffer: NO_BUFFER,
                sent: 0,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.state = state;
        ConnId { index, generation: slot.generation }
    }

    /// Frees the place; its next user gets another generation.
    pub(super) fn release(&mut self, conn: ConnId) {
        self.take_buffer(conn);
        if let Some(slot) = self.slot_mut(conn) {
            slot.generation = slot.generation.wrapping_add(1);
            slot.state = State::Free;
            slot.blocked = false;
            slot.dirty = false;
            slot.wants = 0;
            self.free.push(conn.index);
            self.open -= 1;
        }
    }

    /// Marks the end; the application is told at the end of the step.
    pub(super) fn end(&mut self, conn: ConnId, how: Closed) {
        if let Some(slot) = self.slot_mut(conn)
            && !matches!(slot.state, State::Free | State::Ended)
        {
            slot.state = State::Ended;
            self.ended.push((conn, how));
        }
    }

    pub(super) fn slot(&self, conn: ConnId) -> Option<&Slot> {
        self.slots.get(conn.index as usize).filter(|slot| slot.generation == conn.generation)
    }

    pub(super) fn slot_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(conn.index as usize).filter(|slot| slot.generation == conn.generation)
    }

    /// Lets what is in the output buffer be looked at at the end of the step.
    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot_mut(conn)
            && slot.state == State::Open
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// The output is being looked at.
    pub(super) fn clear_dirty(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot_mut(conn) {
            slot.dirty = false;
        }
    }

    /// All output that has not left, to be changed in place. `None` if the connection is gone.
    pub(super) fn output(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(conn.index as usize)?;
        if slot.generation != conn.generation || !matches!(slot.state, State::Open | State::Closing) {
            return None;
        }
        if slot.buffer == NO_BUFFER {
            slot.buffer = self.buffers.take();
        }
        Some(self.buffers.get_mut(slot.buffer))
    }

    /// The bytes that have not left. Clears the dirty mark.
    pub(super) fn unsent(&mut self, conn: ConnId) -> &[u8] {
        let Some(slot) =
            self.slots.get_mut(conn.index as usize).filter(|slot| slot.generation == conn.generation)
        else {
            return &[];
        };
        slot.dirty = false;
        if slot.buffer == NO_BUFFER { &[] } else { &self.buffers.get(slot.buffer)[slot.sent as usize..] }
    }

    /// Records that the kernel took `bytes`. True: nothing is left, the buffer is back in the pool.
    pub(super) fn sent(&mut self, conn: ConnId, bytes: usize) -> bool {
        let Some(slot) =
            self.slots.get_mut(conn.index as usize).filter(|slot| slot.generation == conn.generation)
        else {
            return true;
        };
        if slot.buffer == NO_BUFFER {
            return true;
        }
        let buffer = self.buffers.get_mut(slot.buffer);
        slot.sent += bytes as u32;
        if (slot.sent as usize) < buffer.len() {
            // Keep what is left at the front, so that a connection that stays blocked does not grow with what it has sent.
            buffer.drain(..slot.sent as usize);
            slot.sent = 0;
            return false;
        }
        self.take_buffer(conn);
        true
    }

    fn take_buffer(&mut self, conn: ConnId) {
        let Some(slot) =
            self.slots.get_mut(conn.index as usize).filter(|slot| slot.generation == conn.generation)
        else {
            return;
        };
        if slot.buffer == NO_BUFFER {
            return;
        }
        self.buffers.give_back(slot.buffer);
        slot.buffer = NO_BUFFER;
        slot.sent = 0;
    }
}
