//! The kernel calls that have no safe wrapper in a crate we use. The one file with `unsafe`.
#![expect(unsafe_code, reason = "this file wraps them; each block states why it is sound")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// Gives the calling thread a descriptor table of its own and closes everything in it but stdio and `keep`.
///
/// Must be the first thing a shard's thread does: whatever else the copy held would stay open for as long as the shard lives
/// (a listener left in a copied table goes on taking connections that nobody serves).
/// Fails where the kernel or a seccomp filter refuses; the table is then the shared one, untouched.
pub fn split_descriptor_table(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).filter(|&fd| fd > 2).collect();
    kept.sort_unstable();
    // The first call must unshare before anything is closed, so it is made over an empty range beyond all descriptors.
    close_range(u32::MAX - 1, u32::MAX - 1, libc::CLOSE_RANGE_UNSHARE)?;
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: takes no pointers. The descriptors it closes belong to this thread's own table, which was split by the first
    // call; no object of this thread owns any of them yet (`split_descriptor_table` runs before any is made).
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the kernel choose the source port at connect, so that ports are shared between destinations.
pub fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &on)
}

fn set_option<T>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call and which the kernel only reads. `T` is what the
    // option takes: an int, or a `sock_fprog` whose slice of instructions outlives the call too and is copied by it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How long ago data last arrived on a TCP socket, to the tick of the kernel's clock; since it was accepted, if none has.
pub fn last_arrival(socket: BorrowedFd<'_>) -> io::Result<Duration> {
    // SAFETY: `tcp_info` is plain numbers, for which all-zero is valid. Pointer and length describe that local; the kernel writes
    // at most as much as it is told there is room for, and older ones less, which leaves zeros.
    let (result, info) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let result = libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        );
        (result, info)
    };
    if result == 0 {
        Ok(Duration::from_millis(u64::from(info.tcpi_last_data_recv)))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An instruction of a classic BPF program: code, jumps if true and if false, operand.
pub type Instruction = libc::sock_filter;

/// Lets `program` choose, by its result, which of the sockets that listen on this socket's port takes a new connection.
///
/// The kernel checks the program. A result that is no place among the sockets leaves the choice to the kernel.
pub fn attach_reuseport_program(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let len = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Leaves the choice to the kernel again.
pub fn detach_reuseport_program(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, &on)
}

/// A signal that ends or changes a process of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A polite request to end.
    Terminate,
    /// Read the configuration again.
    Hangup,
}

const SIGNALS: [(libc::c_int, Signal); 3] =
    [(libc::SIGINT, Signal::Interrupt), (libc::SIGTERM, Signal::Terminate), (libc::SIGHUP, Signal::Hangup)];

/// Signals as something to read, so that no handler ever runs.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks SIGINT, SIGTERM and SIGHUP for this thread and all it will start. Call before the first thread starts.
    pub fn block() -> io::Result<Signals> {
        // SAFETY: `sigset_t` is plain data for which all-zero is valid; sigemptyset initialises it. The pointers are to
        // that local; the old mask is not asked for. signalfd gives a descriptor that nothing else owns.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for (number, _) in SIGNALS {
                libc::sigaddset(&raw mut set, number);
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that has come, or `None`.
    pub fn next(&self) -> Option<Signal> {
        let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut bytes).ok()?;
        // The signal's number is the structure's first field, a u32.
        let number = u32::from_ne_bytes(*bytes.get(..read)?.first_chunk()?);
        SIGNALS.iter().find(|(known, _)| u32::try_from(*known) == Ok(number)).map(|(_, signal)| *signal)
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    #[test]
    fn the_age_of_input_grows_while_nobody_reads_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let age = |accepted: &std::net::TcpStream| last_arrival(accepted.as_fd()).unwrap();
        peer.write_all(b"a").unwrap();
        // Time itself is what is waited for; each look is bounded by the runner's limit only.
        while age(&accepted) < Duration::from_millis(100) {
            std::thread::yield_now();
        }
        accepted.read_exact(&mut [0]).unwrap();
        assert!(age(&accepted) >= Duration::from_millis(100), "reading changes nothing");
    }

    #[test]
    fn a_split_table_keeps_only_what_it_was_handed() {
        let kept = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
        let other = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
        let (kept_number, other_number) = (kept.as_raw_fd(), other.as_raw_fd());
        let alive = |fd: RawFd| std::fs::read_link(format!("/proc/thread-self/fd/{fd}")).is_ok();
        std::thread::spawn(move || {
            split_descriptor_table(&[kept_number]).unwrap();
            assert!(alive(kept_number) && !alive(other_number));
        })
        .join()
        .unwrap();
        assert!(alive(kept_number) && alive(other_number), "the main table is untouched");
    }
}
