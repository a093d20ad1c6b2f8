//! The gateway's shard, a step at a time: sessions, routing, fan-out.

use benches::stage::Stage;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn shard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard");
    group.sample_size(20);

    group.throughput(Throughput::Elements(1000));
    group.bench_function("open 1000 sessions", |bencher| {
        bencher.iter_batched(|| (), |()| Stage::new(1000).is_ok(), BatchSize::PerIteration);
    });
    if let Ok(mut stage) = Stage::new(1000) {
        group.bench_function("routing: 1000 messages sent, confirmed, delivered, acknowledged", |bencher| {
            bencher.iter(|| stage.everyone_writes());
        });
    }
    if let Ok(mut stage) = Stage::new(1001) {
        stage.everyone_joins("dev");
        for in_flight in [1, 8] {
            group.throughput(Throughput::Elements(1000 * in_flight));
            group.bench_function(format!("fan-out to 1000, {in_flight} in flight"), |bencher| {
                bencher.iter(|| stage.first_writes_to("dev", in_flight as usize));
            });
        }
    }
    group.throughput(Throughput::Elements(1));
    for sessions in [1000, 100_000] {
        let Ok(mut stage) = Stage::new(sessions) else { continue };
        for (form, headers) in [("plain", ""), ("gzipped", "Accept-Encoding: gzip\r\n")] {
            group.bench_function(format!("scrape with {sessions} sessions, {form}"), |bencher| {
                bencher.iter(|| stage.scrape(headers));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, shard);
criterion_main!(benches);
