//! Mailboxes on real threads.

use rustix::event::{PollFd, PollFlags, poll};
use wire::shard::mailbox::network;

/// More than a ring holds.
const MANY: usize = 32 * 1024 + 7;

/// Two nodes bounce a number; each sleeps between. A lost wake-up hangs, and the test runner's time limit ends it.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 20_000;
    let mailboxes = network::<u64>(2).unwrap();
    let threads: Vec<_> = mailboxes
        .into_iter()
        .map(|mut mailbox| {
            std::thread::spawn(move || {
                let other = 1 - mailbox.index();
                if mailbox.index() == 0 {
                    mailbox.post(other, 0);
                }
                let (mut received, mut last) = (Vec::new(), 0);
                while last < ROUNDS {
                    mailbox.flush();
                    if mailbox.may_sleep() {
                        let mut fds = [PollFd::from_borrowed_fd(mailbox.doorbell(), PollFlags::IN)];
                        poll(&mut fds, None).unwrap();
                    }
                    mailbox.awake();
                    mailbox.receive(&mut received);
                    for (_, number) in received.drain(..) {
                        last = number;
                        mailbox.post(other, number + 1);
                    }
                }
                mailbox.flush();
                last
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap() >= ROUNDS);
    }
}

#[test]
fn a_full_ring_keeps_order_and_never_blocks() {
    let mut mailboxes = network::<usize>(2).unwrap();
    let (mut reader, mut writer) = (mailboxes.pop().unwrap(), mailboxes.pop().unwrap());
    for number in 0..MANY {
        writer.post(1, number);
    }
    let mut received = Vec::new();
    while received.len() < MANY {
        writer.flush();
        reader.receive(&mut received);
    }
    assert!(received.iter().map(|(_, number)| *number).eq(0..MANY));
    assert!(!writer.has_unsent());
}
