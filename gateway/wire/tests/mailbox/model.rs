//! Models: two or three nodes that write, sleep and end. Who waits for mail that never rings waits forever, which loom reports as a
//! deadlock. Rings hold two pieces of mail here, so that they are soon full.

use crate::mailbox::{Mailbox, network};
use crate::sync::WITHOUT_FENCES;
use loom::thread;
use std::sync::Arc;

/// Switches of threads against their will that are tried. Faults that need more than two are rare (Musuvathi and Qadeer, 2007).
const PREEMPTIONS_MAX: usize = 2;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS asks for more.
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    builder.check(model);
}

fn pair() -> (Mailbox<u32>, Mailbox<u32>) {
    let mut mailboxes = network(2).unwrap();
    let second = mailboxes.pop().unwrap();
    (mailboxes.pop().unwrap(), second)
}

/// What a node does that could not leave all its mail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsent {
    /// It comes back soon, as every driver does.
    ComesBack,
    /// It sleeps like any other: the fault that two full mailboxes facing each other would show.
    Sleeps,
}

/// A driver's loop until all its mail has left and `count` pieces have come: what was posted leaves, it sleeps until there is
/// something to do, and takes what there is.
fn run(mailbox: &mut Mailbox<u32>, unsent: Unsent, count: usize) -> Vec<u32> {
    let mut received = Vec::new();
    loop {
        mailbox.flush();
        if received.len() == count && !mailbox.has_unsent() {
            return received;
        }
        let may_sleep = mailbox.may_sleep();
        if mailbox.has_unsent() && unsent == Unsent::ComesBack {
            thread::yield_now();
        } else if may_sleep {
            mailbox.doorbell().wait();
        }
        mailbox.awake();
        let mut mail = Vec::new();
        mailbox.receive(&mut mail);
        received.extend(mail.into_iter().map(|(_, mail)| mail));
    }
}

fn receive(mailbox: &mut Mailbox<u32>, count: usize) -> Vec<u32> {
    run(mailbox, Unsent::ComesBack, count)
}

/// One writes twice and ends; the other sleeps whenever there is nothing.
fn a_sleeper_is_woken() {
    let (mut writer, mut reader) = pair();
    let reader = thread::spawn(move || assert_eq!(receive(&mut reader, 2), [1, 2]));
    for mail in [1, 2] {
        writer.post(1, mail);
        writer.flush();
    }
    reader.join().unwrap();
}

#[test]
fn no_wake_up_is_lost() {
    explore(a_sleeper_is_woken);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_wake_up_is_lost() {
    WITHOUT_FENCES.set(true);
    explore(a_sleeper_is_woken);
}

/// Each answers the other's mail and sleeps in between.
#[test]
fn answers_wake_who_asked() {
    explore(|| {
        let (mut first, mut second) = pair();
        let answerer = thread::spawn(move || {
            assert_eq!(receive(&mut second, 1), [1]);
            second.post(0, 2);
            second.flush();
        });
        first.post(1, 1);
        assert_eq!(receive(&mut first, 1), [2]);
        answerer.join().unwrap();
    });
}

#[test]
fn two_writers_wake_one_reader() {
    explore(|| {
        let mut mailboxes = network::<u32>(3).unwrap();
        let mut reader = mailboxes.pop().unwrap();
        let writers: Vec<_> = mailboxes
            .into_iter()
            .map(|mut writer| {
                thread::spawn(move || {
                    writer.post(2, writer.index() as u32);
                    writer.flush();
                })
            })
            .collect();
        let mut received = receive(&mut reader, 2);
        received.sort_unstable();
        assert_eq!(received, [0, 1]);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

/// Both have more to write than fits before either reads.
fn full_mailboxes_face_each_other(unsent: Unsent) {
    explore(move || {
        let (first, second) = pair();
        let exchange = move |mut mailbox: Mailbox<u32>| {
            for mail in [1, 2, 3] {
                mailbox.post(1 - mailbox.index(), mail);
            }
            assert_eq!(run(&mut mailbox, unsent, 3), [1, 2, 3]);
        };
        let other = thread::spawn(move || exchange(second));
        exchange(first);
        other.join().unwrap();
    });
}

#[test]
fn two_full_mailboxes_facing_each_other_empty() {
    full_mailboxes_face_each_other(Unsent::ComesBack);
}

#[test]
#[should_panic(expected = "deadlock")]
fn two_full_mailboxes_whose_owners_sleep_stay_full() {
    full_mailboxes_face_each_other(Unsent::Sleeps);
}

/// A mailbox is given up while others write to it: nobody waits for it, and no mail is lost count of.
#[test]
fn a_mailbox_may_end_while_it_is_written_to() {
    explore(|| {
        let mut mailboxes = network::<Arc<()>>(2).unwrap();
        let (mut reader, mut writer) = (mailboxes.pop().unwrap(), mailboxes.pop().unwrap());
        let mail = Arc::new(());
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            reader.receive(&mut received);
            received.len()
        });
        for _ in 0..4 {
            writer.post(1, Arc::clone(&mail));
            writer.flush();
        }
        let received = reader.join().unwrap();
        writer.flush();
        // What was taken made room; two are in the ring, and the rest waits here.
        assert_eq!(Arc::strong_count(&mail) - 1, 4 - received);
        assert_eq!(writer.has_unsent(), received < 2);
        drop(writer);
        assert_eq!(Arc::strong_count(&mail), 1);
    });
}

/// Who ends flushes first, and is read to the end by who sleeps.
#[test]
fn the_last_mail_of_who_ends_is_read() {
    explore(|| {
        let (mut writer, mut reader) = pair();
        let reader = thread::spawn(move || assert_eq!(receive(&mut reader, 1), [1]));
        writer.post(1, 1);
        writer.flush();
        drop(writer);
        reader.join().unwrap();
    });
}
