//! im.v1: JSON in and out.

use criterion::{Criterion, criterion_group, criterion_main};
use gateway::im::message::Message;
use gateway::im::protocol;
use gateway::metrics::Kind;
use std::hint::black_box;
use wire::time::Time;

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protocol");
    let body = "x".repeat(40);
    let send = format!("{{\"type\":\"send\",\"id\":\"m-1\",\"to\":\"user:bob\",\"body\":\"{body}\"}}");
    group.bench_function("parse send", |bencher| {
        bencher.iter(|| protocol::parse(black_box(&send), 256).is_ok());
    });
    group.bench_function("parse ack", |bencher| {
        bencher.iter(|| protocol::parse(black_box("{\"type\":\"ack\",\"seq\":17}"), 256).is_ok());
    });
    let message = || Message::new("\"m-1\"", "al", 1, "\"x\"", Time(0), Time(1), Kind::Direct);
    group.bench_function("make message", |bencher| bencher.iter(|| black_box(message())));
    let (message, mut out) = (message(), Vec::new());
    group.bench_function("write message", |bencher| {
        bencher.iter(|| {
            out.clear();
            protocol::write_message(&mut out, black_box(17), &message);
        });
    });
    group.bench_function("write sent", |bencher| {
        bencher.iter(|| {
            out.clear();
            protocol::write_sent(&mut out, black_box("\"m-1\""));
        });
    });
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
