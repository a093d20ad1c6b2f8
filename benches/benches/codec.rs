//! Frames: masks, headers, whole messages, the handshake.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wire::http::Request;
use wire::ws::endpoint::{Endpoint, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

const MASK: [u8; 4] = [1, 2, 3, 4];

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for bytes in [100, 4096] {
        let mut input = Vec::new();
        frame::write(&mut input, Opcode::Text, &vec![b'a'; bytes], Some(MASK));
        let (mut endpoint, mut scratch) = (Endpoint::new(Role::Server), input.clone());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("read text {bytes} B"), |bencher| {
            bencher.iter(|| {
                // Unmasking is in place, so the input is needed anew each time.
                scratch.copy_from_slice(&input);
                black_box(endpoint.next(&mut scratch, 1 << 20)).is_ok()
            });
        });
        let payload = vec![b'a'; bytes];
        let mut out = Vec::new();
        group.bench_function(format!("write {bytes} B"), |bencher| {
            bencher.iter(|| {
                out.clear();
                frame::write(&mut out, Opcode::Text, black_box(&payload), None);
            });
        });
        group.bench_function(format!("mask {bytes} B"), |bencher| {
            bencher.iter(|| frame::apply_mask(black_box(&mut scratch), MASK));
        });
    }
    group.finish();
}

fn upgrade(criterion: &mut Criterion) {
    let mut request = Vec::new();
    handshake::write_request(&mut request, "bench", "/ws", [7; 16], &["Authorization: Bearer token"]);
    criterion.bench_function("codec/upgrade", |bencher| {
        bencher.iter(|| {
            let request = Request::parse(black_box(&request)).ok().flatten();
            request.map(|request| handshake::accept(&request).is_ok())
        });
    });
}

criterion_group!(benches, codec, upgrade);
criterion_main!(benches);
