//! redb against fjall at what the gateway's store does; the figures in ARCHITECTURE.md come from here.
//!
//! A commit writes a group of accepted messages (about 300 bytes each, with an entry against repetition) and removes a group
//! that was written `LAG` commits before, with one fsync. Then the process dies without closing the store, and it is opened and
//! read by another. Stores take turns; the middle of five rounds counts.
//!
//! `cargo run --release -- FOLDER` in this folder; FOLDER must be on the disk in question.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// Commits between a message's acceptance and its removal.
const LAG: u64 = 4;
/// Most time that one round may spend on commits.
const TIME_MAX: Duration = Duration::from_secs(6);
const COMMITS_MAX: u64 = 400;
/// Messages left in the store when the process dies.
const LEFT: u64 = 100_000;
const GROUPS: [u64; 4] = [1, 32, 512, 4096];

trait Store: Sized {
    const NAME: &'static str;
    fn open(folder: &Path) -> Self;
    /// Writes `put` and removes `gone`, both ranges of keys; durable when it returns.
    fn commit(&mut self, put: std::ops::Range<u64>, gone: std::ops::Range<u64>);
    /// Reads all messages; how many there are.
    fn read(&self) -> u64;
}

struct Redb(redb::Database);

const MESSAGES: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("messages");
const IDS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("ids");

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(folder: &Path) -> Redb {
        let database = redb::Builder::new().set_cache_size(64 << 20).create(folder.join("store.redb"));
        let database = database.unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(MESSAGES).unwrap();
        write.open_table(IDS).unwrap();
        write.commit().unwrap();
        Redb(database)
    }

    fn commit(&mut self, put: std::ops::Range<u64>, gone: std::ops::Range<u64>) {
        let write = self.0.begin_write().unwrap();
        {
            let mut messages = write.open_table(MESSAGES).unwrap();
            let mut ids = write.open_table(IDS).unwrap();
            for key in put {
                messages.insert(key, value(key).as_slice()).unwrap();
                ids.insert(key, &value(key)[..40]).unwrap();
            }
            for key in gone {
                messages.remove(key).unwrap();
                ids.remove(key).unwrap();
            }
        }
        write.commit().unwrap();
    }

    fn read(&self) -> u64 {
        use redb::{ReadableDatabase as _, ReadableTable as _};
        let messages = self.0.begin_read().unwrap().open_table(MESSAGES).unwrap();
        messages.iter().unwrap().map(|entry| u64::from(!entry.unwrap().1.value().is_empty())).sum()
    }
}

struct Fjall {
    database: fjall::Database,
    messages: fjall::Keyspace,
    ids: fjall::Keyspace,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(folder: &Path) -> Fjall {
        let database = fjall::Database::builder(folder.join("store.fjall"))
            .cache_size(64 << 20)
            .max_journaling_size(128 << 20)
            .worker_threads(1)
            .open()
            .unwrap();
        let messages = database.keyspace("messages", fjall::KeyspaceCreateOptions::default).unwrap();
        let ids = database.keyspace("ids", fjall::KeyspaceCreateOptions::default).unwrap();
        Fjall { database, messages, ids }
    }

    fn commit(&mut self, put: std::ops::Range<u64>, gone: std::ops::Range<u64>) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for key in put {
            batch.insert(&self.messages, key.to_be_bytes(), value(key));
            batch.insert(&self.ids, key.to_be_bytes(), &value(key)[..40]);
        }
        for key in gone {
            batch.remove(&self.messages, key.to_be_bytes());
            batch.remove(&self.ids, key.to_be_bytes());
        }
        batch.commit().unwrap();
    }

    fn read(&self) -> u64 {
        self.messages.iter().map(|entry| u64::from(!entry.value().unwrap().is_empty())).sum()
    }
}

/// 300 bytes that do not compress to nothing.
fn value(key: u64) -> Vec<u8> {
    let mut word = key;
    let words = std::iter::repeat_with(move || {
        word = word.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        word.to_le_bytes()
    });
    words.flatten().take(300).collect()
}

/// One round in a process of its own, so that memory and written bytes are its own. It dies with `LEFT` messages in the store.
fn load<S: Store>(folder: &Path, group: u64) {
    let mut store = S::open(folder);
    let (cpu, written) = (cpu(), written());
    let (begin, mut times) = (Instant::now(), Vec::new());
    let mut commits = 0;
    while commits < COMMITS_MAX && begin.elapsed() < TIME_MAX {
        let gone = commits.checked_sub(LAG).map_or(0..0, |first| first * group..(first + 1) * group);
        let before = Instant::now();
        store.commit(commits * group..(commits + 1) * group, gone);
        times.push(before.elapsed());
        commits += 1;
    }
    let elapsed = begin.elapsed();
    let messages = (commits * group) as f64;
    let (cpu, written) = (self::cpu() - cpu, self::written() - written);
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} {} {} {} {} {}",
        messages / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu.as_secs_f64() * 1e6 / messages,
        written as f64 / messages,
        size(folder) as f64 / 1e6,
    );
    let first = commits * group;
    for begin in (first..first + LEFT).step_by(10_000) {
        store.commit(begin..begin + 10_000, 0..0);
    }
    std::process::abort();
}

/// Opens what the dead process left: seconds, messages, megabytes on disk.
fn recover<S: Store>(folder: &Path) {
    let begin = Instant::now();
    let store = S::open(folder);
    let messages = store.read();
    println!("{} {} {}", begin.elapsed().as_secs_f64() * 1e3, messages, size(folder) as f64 / 1e6);
}

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { size(&entry.path()) } else { metadata.blocks() * 512 }
        })
        .sum()
}

fn child(name: &str, what: &str, folder: &Path, group: u64) -> Vec<f64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, what, folder.to_str().unwrap(), &group.to_string()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .map(|figure| figure.parse().unwrap())
        .collect()
}

fn middle(rounds: &[Vec<f64>], column: usize) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, what, folder, group] = &arguments[..] {
        let (folder, group) = (Path::new(folder), group.parse().unwrap());
        return match (&**name, &**what) {
            (Redb::NAME, "load") => load::<Redb>(folder, group),
            (Redb::NAME, _) => recover::<Redb>(folder),
            (_, "load") => load::<Fjall>(folder, group),
            _ => recover::<Fjall>(folder),
        };
    }
    let base = PathBuf::from(arguments.first().expect("give a folder on the disk to be measured"));
    println!(
        "store  group  messages/s  commit p50 ms  p99 ms  cpu us/message  written B/message  disk MB | after a crash with {LEFT}: open+read ms  messages  disk MB"
    );
    for group in GROUPS {
        let mut rounds = [(); 2].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            for (name, rounds) in [Redb::NAME, Fjall::NAME].iter().zip(&mut rounds) {
                let folder = base.join(format!("store-bench-{}", std::process::id()));
                std::fs::create_dir_all(&folder).unwrap();
                let mut figures = child(name, "load", &folder, group);
                figures.extend(child(name, "recover", &folder, group));
                std::fs::remove_dir_all(&folder).unwrap();
                rounds.push(figures);
            }
        }
        for (name, rounds) in [Redb::NAME, Fjall::NAME].iter().zip(&rounds) {
            let [rate, p50, p99, cpu, written, disk, open, messages, left] =
                std::array::from_fn(|column| middle(rounds, column));
            println!(
                "{name:5} {group:6} {rate:11.0} {p50:14.2} {p99:7.2} {cpu:15.2} {written:18.0} {disk:8.0} | {open:.0} {messages:.0} {left:.0}"
            );
        }
    }
}
