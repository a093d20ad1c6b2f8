//! Which shard takes a new connection: one on the CPU where it arrives.
//!
//! Each shard is pinned to a CPU, and a small program in the kernel picks, for a connection that arrives on CPU `k`, one of the
//! shards there by the packet's hash. So interrupt, accept, and all later work of a connection stay on one core, as long as
//! its packets do. Among s shards on c CPUs, shard i is on CPU `i mod c`: the program chooses `k + c × (hash mod shards of k)`.
//!
//! The kernel numbers the sockets of a port in the order in which they began to listen, and fills the place of one that
//! leaves with the last. The program is made from that order, and made anew whenever one joins or leaves.

use super::ShardIndex;
use super::table::ShardFd;
use crate::sys::{self, Instruction};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that a shard may have above its share before steering counts as uneven: chance does that.
const SURPLUS: usize = 256;
/// The result that leaves the choice to the kernel: there never is such a place.
const NOBODY: u32 = u32::MAX;

/// Why connections cannot be steered.
#[derive(Debug, thiserror::Error)]
pub enum NoSteering {
    /// Nothing to choose.
    #[error("this process may use one CPU only, or it is not known which")]
    OneCpu,
    /// The kernel takes no such program.
    #[error("the kernel refuses the program: {0}")]
    Refused(#[source] io::Error),
}

/// Tries whether connections could be steered, on a socket that nobody connects to. Gives the number of CPUs to choose from.
pub fn probe() -> Result<usize, NoSteering> {
    let steering = Steering::new().ok_or(NoSteering::OneCpu)?;
    let attach = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.listen(1)?;
        sys::attach_reuseport_program(socket.as_fd(), &program(&[(0, steering.cpu(0))]))
    };
    attach().map_err(NoSteering::Refused)?;
    Ok(steering.0.cpus.len())
}

/// The shards of one listener, and the CPUs that they are on.
#[derive(Debug, Clone)]
pub struct Steering(Arc<Group>);

#[derive(Debug)]
struct Group {
    cpus: Vec<usize>,
    is_on: AtomicBool,
    /// Index in `cpus` of each listening socket, in the kernel's order. Locked when a listener joins or leaves, never on the
    /// way of a message.
    order: Mutex<Vec<(ShardIndex, usize)>>,
}

impl Steering {
    /// Over the CPUs that this process may use; `None` where that is one, or not known: there is nothing to choose.
    pub fn new() -> Option<Steering> {
        let allowed = sched_getaffinity(None).ok()?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        if cpus.len() < 2 {
            return None;
        }
        let group = Group { cpus, is_on: AtomicBool::new(true), order: Mutex::default() };
        Some(Steering(Arc::new(group)))
    }

    /// Whether connections are steered by CPU. Not: the kernel refused, or connections arrived unevenly.
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// The CPU that a shard is pinned to.
    pub fn cpu(&self, shard: ShardIndex) -> usize {
        self.0.cpus[shard % self.0.cpus.len()]
    }

    /// Begins to listen, as the next socket of the port, and moves this thread to its CPU if the kernel lets us steer.
    pub(super) fn join(
        &self,
        shard: ShardIndex,
        listen: impl FnOnce() -> io::Result<ShardFd>,
    ) -> io::Result<ShardFd> {
        let mut order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = listen()?;
        order.push((shard, self.cpu(shard)));
        self.attach(&order, &listener);
        if self.is_on() {
            let mut set = CpuSet::new();
            set.set(self.cpu(shard));
            // If refused, the shard runs anywhere, and only locality is lost.
            let _ = sched_setaffinity(None, &set);
        }
        Ok(listener)
    }

    /// Ends to listen. The program for those that stay is put in before, by the socket that goes.
    pub(super) fn leave(&self, shard: ShardIndex, listener: ShardFd) {
        let mut order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = order.iter().position(|(listening, _)| *listening == shard) {
            order.swap_remove(place);
            self.attach(&order, &listener);
        }
        drop(listener);
    }

    /// Gives up steering if a shard has many more connections than its share of `taken`.
    pub(super) fn keep_balance(&self, connections: usize, taken: usize, listener: &ShardFd) {
        if connections <= SURPLUS || !self.is_on() {
            return;
        }
        let order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        let share = taken / order.len().max(1);
        if connections > share + share / 4 + SURPLUS {
            self.0.is_on.store(false, Ordering::Relaxed);
            // Without a program the kernel spreads by its hash; if it cannot be taken out, the surplus goes on growing.
            let _ = sys::detach_reuseport_program(listener.as_fd());
        }
    }

    fn attach(&self, order: &[(ShardIndex, usize)], listener: &ShardFd) {
        if self.is_on() && sys::attach_reuseport_program(listener.as_fd(), &program(order)).is_err() {
            self.0.is_on.store(false, Ordering::Relaxed);
        }
    }
}

/// The program for sockets in this order, each with its shard's CPU.
fn program(order: &[(ShardIndex, usize)]) -> Vec<Instruction> {
    let mut cpus: Vec<usize> = order.iter().map(|(_, cpu)| *cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    let mut program = vec![load(libc::SKF_AD_CPU)];
    for cpu in cpus {
        let places =
            order.iter().enumerate().filter(|(_, (_, on))| *on == cpu).map(|(place, _)| place as u32);
        let choice = choose(&places.collect::<Vec<_>>());
        // At most 64 shards, so that a block of two instructions each can be jumped over.
        program.push(jump_unless(cpu as u32, choice.len() as u8));
        program.extend(choice);
    }
    program.push(give(NOBODY));
    program
}

/// One of these places, by the packet's hash; a packet without one is left to the kernel.
fn choose(places: &[u32]) -> Vec<Instruction> {
    let [place] = places else {
        let modulo = instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, places.len() as u32);
        let mut choice = vec![load(libc::SKF_AD_RXHASH), jump_unless(0, 1), give(NOBODY), modulo];
        for (rest, place) in places.iter().enumerate() {
            choice.extend([jump_unless(rest as u32, 1), give(*place)]);
        }
        return choice;
    };
    vec![give(*place)]
}

fn load(ancillary: libc::c_int) -> Instruction {
    let at = (libc::SKF_AD_OFF + ancillary) as u32;
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at)
}

/// Leaves out the next `skipped` instructions unless what was loaded is `value`.
fn jump_unless(value: u32, skipped: u8) -> Instruction {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skipped, value)
}

fn give(place: u32) -> Instruction {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, place)
}

fn instruction(code: u32, if_true: u8, if_false: u8, k: u32) -> Instruction {
    Instruction { code: code as u16, jt: if_true, jf: if_false, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of it.
    fn run(program: &[Instruction], cpu: u32, hash: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) & 0x07 {
                libc::BPF_LD if k as i32 == libc::SKF_AD_OFF + libc::SKF_AD_CPU => loaded = cpu,
                libc::BPF_LD => loaded = hash,
                libc::BPF_ALU => loaded %= k,
                libc::BPF_JMP => at += usize::from(if loaded == k { jt } else { jf }),
                libc::BPF_RET => return k,
                other => panic!("unexpected code {other}"),
            }
        }
    }

    fn order(shards: usize, cpus: usize) -> Vec<(ShardIndex, usize)> {
        (0..shards).map(|shard| (shard, shard % cpus)).collect()
    }

    #[test]
    fn cpu_plus_cpus_times_hash() {
        for (shards, cpus) in [(2, 2), (6, 2), (7, 3), (64, 2), (64, 64), (1, 2)] {
            let program = program(&order(shards, cpus));
            for cpu in 0..cpus.min(shards) {
                let there = (shards - cpu).div_ceil(cpus);
                for hash in 1..200 {
                    let chosen = run(&program, cpu as u32, hash);
                    assert_eq!(
                        chosen as usize,
                        cpu + cpus * (hash as usize % there),
                        "{shards} {cpus} {cpu} {hash}"
                    );
                }
            }
            assert_eq!(run(&program, cpus as u32, 7), NOBODY, "a CPU without a shard");
        }
        assert_eq!(run(&program(&order(6, 2)), 1, 0), NOBODY, "a packet without a hash");
    }

    #[test]
    fn who_leaves_is_replaced_by_the_last() {
        let mut order = order(4, 2);
        order.swap_remove(1);
        // Places now: shards 0, 3, 2.
        let program = program(&order);
        assert_eq!((run(&program, 1, 4), run(&program, 1, 5)), (1, 1), "only shard 3 is left on CPU 1");
        assert_eq!((run(&program, 0, 4), run(&program, 0, 5)), (0, 2));
    }
}
