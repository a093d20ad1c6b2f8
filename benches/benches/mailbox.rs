//! Mail between shards, both ends on one thread: posting, the rings, no doorbell.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::shard::mailbox;

fn mail(criterion: &mut Criterion) {
    let Ok(mut mailboxes) = mailbox::network::<[u64; 5]>(2) else { return };
    let (Some(mut reader), Some(mut writer)) = (mailboxes.pop(), mailboxes.pop()) else { return };
    let mut group = criterion.benchmark_group("mailbox");
    let mut received = Vec::new();
    for batch in [1, 1000] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("batch of {batch}"), |bencher| {
            bencher.iter(|| {
                for number in 0..batch {
                    writer.post(1, [number; 5]);
                }
                writer.flush();
                reader.receive(&mut received);
                received.drain(..).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, mail);
criterion_main!(benches);
