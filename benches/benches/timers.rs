//! The timer wheel: many timers, few of them due.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use wire::shard::timers::Timers;
use wire::time::Time;

/// As many heartbeats as a full shard has, spread over their 30 s.
const TIMERS: u64 = 19_000;
const PERIOD: Duration = Duration::from_secs(30);

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    let (mut now, mut due) = (Time(0), Vec::new());
    let mut wheel = Timers::new(now);
    for key in 0..TIMERS {
        wheel.set(now + PERIOD.mul_f64(key as f64 / TIMERS as f64), key);
    }
    group.throughput(Throughput::Elements(TIMERS));
    group.bench_function("19000 heartbeats of 30 s", |bencher| {
        bencher.iter(|| {
            // One period, in the steps that the wheel asks for.
            let until = now + PERIOD;
            while let Some(next) = wheel.next().filter(|next| *next <= until) {
                now = next;
                wheel.expire(now, &mut due);
                for key in due.drain(..) {
                    wheel.set(now + PERIOD, key);
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, timers);
criterion_main!(benches);
