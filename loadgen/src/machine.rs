//! What the machine's CPUs do, by the kernel's own count: how busy they are, and how much of them the host keeps for others.

/// Time that all CPUs together have passed, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    busy: u64,
    idle: u64,
    stolen: u64,
}

/// Shares of the CPUs' time, each 0 to 1; together at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Had work and did it.
    pub busy: f64,
    /// Had work while the host ran somebody else (steal).
    pub stolen: f64,
}

impl Ticks {
    /// From `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already.
    fn parse(stat: &str) -> Option<Ticks> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        // Old kernels do not tell it.
        let stolen = ticks.get(7).copied().unwrap_or(0);
        Some(Ticks { busy: ticks.iter().sum::<u64>() - idle - stolen, idle, stolen })
    }

    /// As of now; `None` where the kernel does not say.
    pub fn now() -> Option<Ticks> {
        Ticks::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// What the CPUs did since `earlier`; `None` if no time has passed, or it went back.
    pub fn since(self, earlier: Ticks) -> Option<Shares> {
        let busy = self.busy.checked_sub(earlier.busy)?;
        let idle = self.idle.checked_sub(earlier.idle)?;
        let stolen = self.stolen.checked_sub(earlier.stolen)?;
        let total = (busy + idle + stolen) as f64;
        (total > 0.0).then(|| Shares { busy: busy as f64 / total, stolen: stolen as f64 / total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_do_what_the_kernel_counts() {
        let before = Ticks::parse("cpu  100 0 50 1000 10 0 0 0 0 0\ncpu0 1 2 3").expect("a line of all CPUs");
        let after = Ticks::parse("cpu  120 0 60 1050 10 0 0 20 0 0").expect("a line of all CPUs");
        assert_eq!(after.since(before), Some(Shares { busy: 0.3, stolen: 0.2 }));
        assert_eq!(before.since(before), None);
        assert_eq!(before.since(after), None, "never backwards");
        assert_eq!(Ticks::parse("intr 5"), None);
        let old = Ticks::parse("cpu  100 0 50 1000").map(|ticks| (ticks.busy, ticks.stolen));
        assert_eq!(old, None, "iowait is part of the format since Linux 2.6");
    }
}
