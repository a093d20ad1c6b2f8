//! A gateway under load is killed again and again; nothing it has confirmed is lost, and order is kept.
//!
//! `CRASH_ROUNDS` (3) kills, at moments from `CRASH_SEED` (1). `ci/crash N` runs N rounds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../driver/mod.rs"]
mod driver;
mod random;

use driver::{Client, Folder, Gateway, PATIENCE};
use random::Random;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Barrier, mpsc};
use std::time::Duration;
use wire::time::Time;

/// Users connected while messages flow; every second one has two devices.
const PRESENT: usize = 6;
/// Users who only come when it is over.
const ABSENT: usize = 3;
/// Present users in the group.
const MEMBERS: usize = 4;
/// Messages of a sender that may be unanswered.
const PIPELINE: usize = 32;

/// A message: who sent it, to which address, as which one of the sender's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    from: usize,
    to: String,
    number: u64,
}

impl Key {
    fn id(&self) -> String {
        format!("{}/{}/{}", self.from, self.to, self.number)
    }

    fn parse(id: &str) -> Key {
        let parts: Vec<&str> = id.split('/').collect();
        Key { from: parts[0].parse().unwrap(), to: parts[1].into(), number: parts[2].parse().unwrap() }
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

fn devices(user: usize) -> &'static [&'static str] {
    if user < PRESENT && user.is_multiple_of(2) { &["a", "b"] } else { &["a"] }
}

/// What a sender knows of its messages, over all rounds.
#[derive(Debug, Default)]
struct Sender {
    next: u64,
    /// Sent and not answered when the gateway died: they are sent again first, in order, under their ids.
    unanswered: VecDeque<Key>,
    confirmed: BTreeSet<Key>,
}

/// First arrivals at one device, by sender and address, in order.
type Arrivals = BTreeMap<(usize, String), Vec<u64>>;

#[derive(Debug, Default)]
struct Device {
    arrivals: Arrivals,
    seen: BTreeSet<Key>,
    duplicates: u64,
    seq_last: u64,
    /// Which life of its session that is a number of.
    epoch: String,
}

impl Device {
    /// Notes a delivery and gives its number.
    fn arrived(&mut self, frame: &serde_json::Value) -> u64 {
        let seq = frame["seq"].as_u64().unwrap();
        let key = Key::parse(frame["id"].as_str().unwrap());
        self.seq_last = self.seq_last.max(seq);
        if self.seen.insert(key.clone()) {
            self.arrivals.entry((key.from, key.to)).or_default().push(key.number);
        } else {
            self.duplicates += 1;
        }
        seq
    }
}

/// All that is known from outside.
#[derive(Debug, Default)]
struct Known {
    senders: BTreeMap<usize, Sender>,
    devices: BTreeMap<(usize, &'static str), Device>,
}

impl Known {
    fn check(&self) {
        for ((user, device), known) in &self.devices {
            for (stream, numbers) in &known.arrivals {
                assert!(numbers.is_sorted(), "{user}/{device} got {stream:?} out of order: {numbers:?}");
            }
        }
        for sender in self.senders.values() {
            for key in &sender.confirmed {
                for recipient in recipients(key) {
                    for device in devices(recipient) {
                        let known = &self.devices[&(recipient, *device)];
                        assert!(
                            known.seen.contains(key),
                            "{recipient}/{device} never got {key:?}, which was confirmed"
                        );
                    }
                }
            }
        }
    }
}

fn recipients(key: &Key) -> Vec<usize> {
    match key.to.strip_prefix("user:user-") {
        Some(user) => vec![user.parse().unwrap()],
        None => (0..MEMBERS).filter(|member| *member != key.from).collect(),
    }
}

/// One device while messages flow, until the gateway is gone. Device a sends, too, and tells of each confirmation.
fn flow(
    client: &mut Client,
    user: usize,
    sender: Option<&mut Sender>,
    device: &mut Device,
    mut random: Random,
    confirmations: &mpsc::Sender<()>,
) {
    let mut sender = sender;
    let mut again: VecDeque<Key> =
        sender.as_ref().map(|sender| sender.unanswered.clone()).unwrap_or_default();
    let mut open: VecDeque<Key> = VecDeque::new();
    if let Some(sender) = &mut sender {
        sender.unanswered.clear();
    }
    loop {
        if let Some(sender) = &mut sender {
            while open.len() < PIPELINE {
                let key = again.pop_front().unwrap_or_else(|| next_message(user, sender, &mut random));
                let is_sent = client.send(&key.id(), &key.to);
                open.push_back(key);
                if !is_sent {
                    break;
                }
            }
        }
        let Some(frame) = client.next_within(Duration::from_secs(5)) else { break };
        match frame["type"].as_str().unwrap() {
            "sent" => {
                let key = Key::parse(frame["id"].as_str().unwrap());
                // Direct and group messages are answered each in their order.
                open.retain(|other| *other != key);
                sender.as_mut().unwrap().confirmed.insert(key);
                // Only the first of a round is waited for.
                let _ = confirmations.send(());
            }
            "message" => {
                let seq = device.arrived(&frame);
                if random.below(4) > 0 {
                    client.ack(seq);
                }
            }
            _ => panic!("{frame}"),
        }
    }
    if let Some(sender) = sender {
        open.extend(again);
        sender.unanswered = open;
    }
}

fn next_message(user: usize, sender: &mut Sender, random: &mut Random) -> Key {
    let to = match random.below(32) {
        0..3 if user < MEMBERS => "group:all".to_owned(),
        // Seldom enough that no queue of an absent user fills up, whose overflow would be counted and lost.
        3 => format!("user:{}", name(PRESENT + random.below(ABSENT as u64) as usize)),
        _ => format!("user:{}", name(random.below(PRESENT as u64) as usize)),
    };
    sender.next += 1;
    Key { from: user, to, number: sender.next }
}

/// Everybody is connected, messages flow, some are confirmed, and the gateway dies.
fn load_and_kill(gateway: Gateway, known: &mut Known, random: &mut Random) {
    let ready = Barrier::new(known.devices.keys().filter(|(user, _)| *user < PRESENT).count() + 1);
    let kill_after = Duration::from_millis(random.below(400));
    let (confirmations, confirmed) = mpsc::channel();
    let address = gateway.address;
    std::thread::scope(|scope| {
        let mut senders = std::mem::take(&mut known.senders);
        let mut running = Vec::new();
        for (&(user, device_name), device) in &mut known.devices {
            if user >= PRESENT {
                continue;
            }
            let mut sender = (device_name == "a").then(|| senders.remove(&user).unwrap_or_default());
            let (ready, random, confirmations) = (&ready, random.fork(), confirmations.clone());
            running.push(scope.spawn(move || {
                let query = format!("?resume={}&epoch={}", device.seq_last, device.epoch);
                let mut client = Client::try_connect(address, &name(user), device_name, &query).unwrap();
                device.epoch.clone_from(&client.epoch);
                if device_name == "a" && user < MEMBERS {
                    client.join_and("all", |frame| {
                        device.arrived(frame);
                    });
                }
                ready.wait();
                flow(&mut client, user, sender.as_mut(), device, random, &confirmations);
                (user, sender)
            }));
        }
        ready.wait();
        // On a busy machine the first commit may take a second, and a blow before it would prove nothing.
        confirmed.recv_timeout(PATIENCE).expect("nothing was confirmed");
        // The one sleep: how long the load lasts from there on is what the seed decides.
        std::thread::sleep(kill_after);
        gateway.kill();
        for thread in running {
            let (user, sender) = thread.join().unwrap();
            known.senders.extend(sender.map(|sender| (user, sender)));
        }
    });
}

/// Whether a delivery has not come to its end. Nothing may be sent meanwhile.
fn is_owing(gateway: &Gateway) -> bool {
    let (accepted, [delivered, _, expired, failed, _]) = gateway.exposition().conservation();
    delivered + expired + failed < accepted
}

/// Everybody comes and stays, takes what is owed and acknowledges it, until nothing is owed any more.
fn collect(gateway: &Gateway, known: &mut Known) {
    gateway.check_conservation();
    let mut clients = Vec::new();
    for (&(user, device_name), device) in &mut known.devices {
        let client = Client::connect(gateway, &name(user), device_name);
        device.epoch.clone_from(&client.epoch);
        assert!(client.seq >= device.seq_last, "numbers go back: {} after {}", client.seq, device.seq_last);
        clients.push((client, device));
    }
    let until = Time::now() + PATIENCE;
    while is_owing(gateway) {
        assert!(Time::now() < until, "the gateway still owes what nobody gets");
        for (client, device) in &mut clients {
            while let Some(frame) = client.next_within(Duration::from_millis(1)) {
                let seq = device.arrived(&frame);
                client.ack(seq);
            }
        }
    }
    gateway.check_conservation();
}

#[test]
fn nothing_confirmed_is_lost() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, seed) = (number("CRASH_ROUNDS", 3), number("CRASH_SEED", 1));
    let folder = Folder::new(&format!("crash-{seed}"));
    let mut random = Random::new(seed);
    let mut known = Known::default();
    for user in 0..PRESENT + ABSENT {
        for device in devices(user) {
            known.devices.insert((user, device), Device::default());
        }
    }
    let start = || Gateway::start(&["--data-dir", folder.path()]);
    for round in 0..rounds {
        load_and_kill(start(), &mut known, &mut random);
        let gateway = start();
        let recovered = gateway.metric("im_gateway_messages_recovered_total");
        collect(&gateway, &mut known);
        known.check();
        let confirmed: usize = known.senders.values().map(|sender| sender.confirmed.len()).sum();
        let duplicates: u64 = known.devices.values().map(|device| device.duplicates).sum();
        println!(
            "round {round}: {confirmed} confirmed so far, {recovered} recovered, {duplicates} duplicates so far"
        );
        gateway.kill();
    }
    // What was acknowledged does not come back. The last kill may have taken the ends of a few deliveries with it.
    let gateway = start();
    collect(&gateway, &mut known);
    gateway.stop();
    let gateway = start();
    assert_eq!(gateway.metric("im_gateway_messages_recovered_total"), 0.0);
    assert_eq!(gateway.metric("im_gateway_store_messages"), 0.0);
}
