//! What a run needs of this machine, and what it has. `doctor` prints it; a run that would fail is refused with the fix.

use crate::machine::{Shares, Ticks};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::time::Duration;
use wire::shard::event_loop::{self, Tables};
use wire::shard::steering::{self, NoSteering};

/// Descriptors of a thread's table that are no connections.
const DESCRIPTORS_KEPT: u64 = 100;
/// Connections per source address, see the fleet.
const CONNECTIONS_PER_SOURCE: u64 = 5000;
/// Client threads of a run, and shards of a gateway.
const THREADS_MAX: u64 = 64;
/// Messages a second that a core carries at both ends, sent, confirmed, delivered and acknowledged, with room left for the
/// schedule to be kept.
const MESSAGES_PER_CORE: u64 = 10_000;
/// Share of the CPUs' time that other work may take before a generator's schedule is in danger.
const BUSY_MAX: f64 = 0.3;
/// Share of the CPUs' time that the host may take before the same is true.
const STOLEN_MAX: f64 = 0.02;
/// How long the CPUs are watched.
const LOOK_FOR: Duration = Duration::from_millis(300);
/// Kernel memory of one connection, both ends, bytes (measured: 8.2 to 8.6 KiB).
const KERNEL_BYTES_PER_CONNECTION: u64 = 9 * 1024;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// What is there.
    pub found: String,
    /// Why the run cannot start, and what to do; `None`: it is enough.
    pub refusal: Option<String>,
}

/// What a run will ask of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Clients at the same time.
    pub clients: u32,
    /// Whether the gateway runs on this machine too.
    pub own_gateway: bool,
}

/// Threads for `clients` clients: one per core, more where the descriptor limit asks for it.
pub fn threads(clients: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let per_thread = u32::try_from(descriptors_per_table()).unwrap_or(u32::MAX).max(1);
    cores.min(clients.max(1)).max(clients.div_ceil(per_thread))
}

/// Connections that one descriptor table holds.
pub fn descriptors_per_table() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX)).saturating_sub(DESCRIPTORS_KEPT)
}

/// Raises the soft descriptor limit to the hard one.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused the soft limit counts, and `findings` says what fits.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Looks at everything a run needs.
pub fn findings(needs: Needs) -> Vec<Finding> {
    let mut findings = vec![descriptors(needs, event_loop::tables()), ports(needs), memory(needs)];
    findings.extend(conntrack(needs));
    findings.extend(steering(needs));
    findings
}

fn descriptors(needs: Needs, tables: Tables) -> Finding {
    let per_table = descriptors_per_table();
    let clients = u64::from(needs.clients);
    let (fits, found) = match tables {
        Tables::Split => {
            let threads = threads(needs.clients);
            (
                per_table * THREADS_MAX,
                format!("{per_table} sockets a thread; threads for {clients} clients: {threads}"),
            )
        }
        Tables::Shared => (
            per_table,
            format!("{per_table} sockets a process: this kernel lets no thread have its own table"),
        ),
    };
    let refusal = (clients > fits).then(|| {
        let fewer = or_lower(fits);
        format!("{clients} clients do not fit: raise the hard limit of `ulimit -n`{fewer}")
    });
    Finding { name: "descriptors", found, refusal }
}

/// The other way out, where it leads anywhere.
fn or_lower(fits: u64) -> String {
    if fits == 0 { String::new() } else { format!(", or lower vus to {fits}") }
}

fn ports(needs: Needs) -> Finding {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse::<u64>().ok());
    let ports = match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) if last >= first => last - first + 1,
        _ => return Finding { name: "ports", found: "unknown range".into(), refusal: None },
    };
    let sources = u64::from(needs.clients).div_ceil(CONNECTIONS_PER_SOURCE).max(1);
    let refusal = (ports < CONNECTIONS_PER_SOURCE.min(u64::from(needs.clients))).then(|| {
        format!("{ports} ports per source address are too few: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"")
    });
    Finding { name: "ports", found: format!("{ports} a source address; addresses used: {sources}"), refusal }
}

fn memory(needs: Needs) -> Finding {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024);
    let per_client = KERNEL_BYTES_PER_CONNECTION + if needs.own_gateway { 1024 } else { 256 };
    let wanted = u64::from(needs.clients) * per_client + 64 * 1024 * 1024;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    match available {
        None => Finding { name: "memory", found: "unknown".into(), refusal: None },
        Some(available) => Finding {
            name: "memory",
            found: format!("{} MiB available, about {} MiB needed", mib(available), mib(wanted)),
            refusal: (wanted > available).then(|| {
                let fewer = or_lower(available.saturating_sub(64 << 20) / per_client);
                format!("{} clients do not fit: free memory{fewer}", needs.clients)
            }),
        },
    }
}

fn conntrack(needs: Needs) -> Option<Finding> {
    let read = |name: &str| -> Option<u64> {
        let path = format!("/proc/sys/net/netfilter/{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    Some(conntrack_finding(needs, read("nf_conntrack_count")?, read("nf_conntrack_max")?))
}

/// Connections stay in the table for a while after their end; a full table drops new ones without a word.
fn conntrack_finding(needs: Needs, count: u64, max: u64) -> Finding {
    let clients = u64::from(needs.clients);
    let namespace = "run in a network namespace: unshare -n";
    let refusal = if clients > max {
        let fewer = or_lower(max);
        Some(format!(
            "raise it: sysctl -w net.netfilter.nf_conntrack_max={}{fewer}, or {namespace}",
            clients * 2
        ))
    } else if clients > max.saturating_sub(count) {
        Some(format!("wait until old connections have left the table (up to 120 s), or {namespace}"))
    } else {
        None
    };
    Finding { name: "conntrack", found: format!("{count} of {max} entries used"), refusal }
}

/// Cores, how busy they are with other things, and their governor. Nothing is refused: a run says itself whether its
/// generator kept the schedule. Takes 0.3 s.
pub fn cpu() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let before = Ticks::now();
    std::thread::sleep(LOOK_FOR);
    let shares = before.and_then(|before| Ticks::now()?.since(before));
    let busy = shares.map_or("not known".into(), |Shares { busy, stolen }| {
        let advice = match (busy > BUSY_MAX, stolen > STOLEN_MAX) {
            (true, _) => ": end what else runs, or a run may be void",
            (false, true) => ": the host of this machine keeps it waiting, and a run may be void",
            (false, false) => "",
        };
        let stolen =
            if stolen > 0.0 { format!(", {:.0}% taken by the host", stolen * 100.0) } else { String::new() };
        format!("{:.0}%{stolen}{advice}", busy * 100.0)
    });
    let governor = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let governor = governor.map(|name| format!("; governor {}", name.trim())).unwrap_or_default();
    let holds = cores as u64 * MESSAGES_PER_CORE;
    let found = format!("cores {cores}, busy {busy}{governor}; enough for about {holds} messages a second");
    Finding { name: "cpu", found, refusal: None }
}

/// Whether the gateway's `--steering cpu` would work: tried on a socket of its own.
fn steering(needs: Needs) -> Option<Finding> {
    needs.own_gateway.then(|| {
        let found = match steering::probe() {
            Ok(cpus) => format!("the gateway's `--steering cpu` works here, over {cpus} CPUs"),
            Err(NoSteering::OneCpu) => "one CPU: `--steering cpu` has nothing to choose".into(),
            Err(NoSteering::Refused(error)) => format!("this kernel refuses `--steering cpu`: {error}"),
        };
        Finding { name: "steering", found, refusal: None }
    })
}

/// Whether results can be written to `folder`; makes it. Gives the fix if not.
pub fn output(folder: &Path) -> Result<(), String> {
    let probe = folder.join(".probe");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| {
            format!("cannot write to {}: {error}; choose another folder with --out", folder.display())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_run_is_let_through_and_an_absurd_one_is_not() {
        assert!(
            findings(Needs { clients: 1000, own_gateway: true })
                .iter()
                .all(|finding| finding.refusal.is_none())
        );
        let absurd = findings(Needs { clients: u32::MAX, own_gateway: true });
        assert!(absurd.iter().any(|finding| finding.name == "memory" && finding.refusal.is_some()));
    }

    #[test]
    fn a_kernel_without_tables_of_their_own_holds_one_table_of_clients() {
        let per_table = descriptors_per_table();
        let needs =
            |clients: u64| Needs { clients: u32::try_from(clients).unwrap_or(u32::MAX), own_gateway: true };
        assert_eq!(descriptors(needs(per_table), Tables::Shared).refusal, None);
        assert_eq!(descriptors(needs(per_table + 1), Tables::Split).refusal, None);
        let refusal = descriptors(needs(per_table + 1), Tables::Shared).refusal;
        assert!(refusal.is_some_and(|refusal| refusal.contains(&format!("lower vus to {per_table}"))));
    }

    #[test]
    fn the_way_out_fits_what_is_short() {
        let of = |clients, count, max| {
            conntrack_finding(Needs { clients, own_gateway: true }, count, max).refusal.unwrap_or_default()
        };
        assert_eq!(of(100, 0, 100), "");
        assert!(of(100, 1, 100).starts_with("wait until old connections"));
        assert!(
            of(101, 0, 100)
                .starts_with("raise it: sysctl -w net.netfilter.nf_conntrack_max=202, or lower vus to 100")
        );
        assert_eq!(or_lower(0), "", "nobody is no way out");
    }

    #[test]
    fn an_unwritable_folder_is_found_before_the_load() {
        assert!(output(Path::new("/proc/no/such")).is_err());
    }
}
