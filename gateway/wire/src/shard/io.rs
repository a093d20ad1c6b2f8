//! What an application may do in a step. Nothing here touches a socket: a driver carries it out afterwards.

use super::buffers::Buffers;
use super::flow::OUTPUT_ENDS;
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

/// The application's side of a connection: 12 bytes when idle.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: State,
    /// The kernel took less than was offered; wait until it is writable.
    pub(super) blocked: bool,
    dirty: bool,
    /// What the application wants: [`DRAIN`], [`ARRIVALS`], and the bits of `flow`. One byte, so that a slot stays at 12.
    pub(super) wants: u8,
    /// Its output that has not left, or none.
    buffer: u32,
}

impl Slot {
    /// Whether the application may still write.
    fn takes_output(&self) -> bool {
        self.state == State::Open && self.wants & OUTPUT_ENDS == 0
    }

    /// Its buffer, held by nobody else.
    fn own_buffer<'a>(&mut self, buffers: &'a mut Buffers) -> &'a mut Vec<u8> {
        if self.buffer == NO_BUFFER {
            self.buffer = buffers.take();
        } else if !buffers.is_own(self.buffer) {
            let copy = buffers.copy(self.buffer);
            buffers.give_back(self.buffer);
            self.buffer = copy;
        }
        buffers.get_mut(self.buffer)
    }
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
    /// Connections that are to be watched for something else.
    pub(super) rewatched: Vec<ConnId>,
    pub(super) stopping: bool,
    /// Newcomers are wanted.
    pub(super) accepts: bool,
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
            rewatched: Vec::new(),
            stopping: false,
            accepts: true,
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

    /// The buffer to append bytes for `conn` to; they leave together at the end of the step. `None` if it is gone, or our side of
    /// it has ended.
    pub fn send(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(conn.index as usize)?;
        if slot.generation != conn.generation || !slot.takes_output() {
            return None;
        }
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(conn);
        }
        Some(slot.own_buffer(&mut self.buffers))
    }

    /// Appends `bytes` for each of `conns`; who is gone is left out. Connections with nothing else to write in this step hold
    /// them once between them, so a fan-out is cheapest this way.
    pub fn send_to_all(&mut self, conns: impl IntoIterator<Item = ConnId>, bytes: &[u8]) {
        // What a shared buffer, or none, has become with these bytes appended.
        let mut last: Option<(u32, u32)> = None;
        for conn in conns {
            let Some(slot) = self.slots.get_mut(conn.index as usize) else { continue };
            if slot.generation != conn.generation || !slot.takes_output() {
                continue;
            }
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push(conn);
            }
            let before = slot.buffer;
            if let Some((_, after)) = last.filter(|(from, _)| *from == before) {
                self.buffers.share(after);
                slot.buffer = after;
                // Its number may soon be another buffer's.
                if before != NO_BUFFER && self.buffers.give_back(before) {
                    last = None;
                }
                continue;
            }
            let is_own = before != NO_BUFFER && self.buffers.is_own(before);
            slot.own_buffer(&mut self.buffers).extend_from_slice(bytes);
            if !is_own {
                last = Some((before, slot.buffer));
            } else if last.is_some_and(|(_, after)| after == before) {
                last = None;
            }
        }
    }

    /// Bytes written for `conn` that have not left; 0 if it is gone.
    pub fn backlog(&self, conn: ConnId) -> usize {
        self.slot(conn)
            .filter(|slot| slot.buffer != NO_BUFFER)
            .map_or(0, |slot| self.buffers.get(slot.buffer).len())
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
        Some(slot.own_buffer(&mut self.buffers))
    }

    /// The bytes that have not left. Clears the dirty mark.
    pub(super) fn unsent(&mut self, conn: ConnId) -> &[u8] {
        let Some(slot) =
            self.slots.get_mut(conn.index as usize).filter(|slot| slot.generation == conn.generation)
        else {
            return &[];
        };
        slot.dirty = false;
        if slot.buffer == NO_BUFFER { &[] } else { self.buffers.get(slot.buffer) }
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
        if bytes < self.buffers.get(slot.buffer).len() {
            // Keep what is left at the front, so that a connection that stays blocked does not grow with what it has sent.
            slot.own_buffer(&mut self.buffers).drain(..bytes);
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::mailbox;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Act {
        /// One connection gets bytes of its own.
        Send(usize, u8),
        /// Each of these gets the same ones; who is named twice gets them twice.
        SendToAll(Vec<usize>, u8),
        /// The kernel takes at most so many of one connection's bytes.
        Leave(usize, usize),
        /// A connection ends, and another takes its place.
        Replace(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let conn = || 0_usize..6;
        prop_oneof![
            2 => (conn(), any::<u8>()).prop_map(|(conn, byte)| Act::Send(conn, byte)),
            4 => (prop::collection::vec(conn(), 0..8), any::<u8>()).prop_map(|(conns, byte)| Act::SendToAll(conns, byte)),
            2 => (conn(), 0_usize..8).prop_map(|(conn, bytes)| Act::Leave(conn, bytes)),
            1 => conn().prop_map(Act::Replace),
        ]
    }

    fn io() -> Io<()> {
        let mailbox = mailbox::network(1).unwrap().pop().unwrap();
        Io::new(Time(0), mailbox.into_parts().0)
    }

    proptest! {
        #[test]
        fn each_connection_sends_what_was_written_for_it_however_it_is_held(acts in prop::collection::vec(act(), 0..60)) {
            let mut io = io();
            let mut conns: Vec<ConnId> = (0..6).map(|_| io.allocate(State::Open)).collect();
            let mut written = vec![Vec::new(); conns.len()];
            for act in acts {
                match act {
                    Act::Send(conn, byte) => {
                        io.send(conns[conn]).unwrap().push(byte);
                        written[conn].push(byte);
                    }
                    Act::SendToAll(to, byte) => {
                        io.send_to_all(to.iter().map(|conn| conns[*conn]), &[byte, byte]);
                        to.iter().for_each(|conn| written[*conn].extend([byte, byte]));
                    }
                    Act::Leave(conn, bytes) => {
                        let bytes = bytes.min(written[conn].len());
                        written[conn].drain(..bytes);
                        prop_assert_eq!(io.sent(conns[conn], bytes), written[conn].is_empty());
                    }
                    Act::Replace(conn) => {
                        let gone = conns[conn];
                        io.release(gone);
                        conns[conn] = io.allocate(State::Open);
                        written[conn].clear();
                        io.send_to_all([gone], b"too late");
                    }
                }
                for (conn, written) in conns.iter().zip(&written) {
                    prop_assert_eq!(io.backlog(*conn), written.len());
                    prop_assert_eq!(io.unsent(*conn), &written[..]);
                }
            }
            conns.iter().for_each(|conn| io.release(*conn));
            prop_assert!(io.buffers.all_are_free());
        }
    }

    #[test]
    fn what_all_get_is_held_once() {
        let mut io = io();
        let conns: Vec<ConnId> = (0..100).map(|_| io.allocate(State::Open)).collect();
        for message in [b"one", b"two", b"six"] {
            io.send_to_all(conns.iter().copied(), message);
        }
        let first = io.unsent(conns[0]).as_ptr();
        assert!(conns.iter().all(|conn| io.unsent(*conn).as_ptr() == first), "it is not shared");
        assert_eq!(io.unsent(conns[99]), b"onetwosix");
        assert_eq!(io.dirty.len(), conns.len());
    }
}
