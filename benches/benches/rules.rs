//! Rules over samples: rules evaluated a second, samples stored and looked at a second.

use assertions::engine::{Engine, EngineSettings};
use assertions::labels::Labels;
use assertions::promql::ast::Dialect;
use assertions::promql::eval::{Query, Settings};
use assertions::promql::parse::parse;
use assertions::rule;
use assertions::store::{METRIC_NAME, Store};
use assertions::time::Millis;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scenarios::span::Source;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const STEP_MS: i64 = 15_000;
/// A day, 25 series of each metric.
const POINTS: i64 = 5_760;
const NODES: usize = 25;

const RULES: &str = include_str!("../rules/rules.yml");

fn filled() -> Store {
    let mut store = Store::new();
    for node in 0..NODES {
        for (name, growth) in [("all_total", 100.0), ("failed_total", 0.25)] {
            let labels =
                Labels::from_pairs([(METRIC_NAME, name.to_string()), ("node", format!("gw-{node}"))]);
            let id = store.series_id(&labels);
            let mut value = 0.0;
            for point in 0..POINTS {
                value += growth + f64::from(u32::try_from((point * 7 + node as i64) % 5).unwrap_or(0));
                store.samples_mut(id).push(Millis(point * STEP_MS), value).expect("in order");
            }
        }
    }
    store
}

fn rules(criterion: &mut Criterion) {
    let source = Arc::new(Source { name: "bench.yml".into(), text: RULES.into() });
    let loaded = rule::load(&[source], Dialect::V2.into()).expect("the rules of this bench load");
    let settings =
        EngineSettings { evaluation_interval: Duration::from_secs(15), ..EngineSettings::default() };
    let store = filled();
    let mut group = criterion.benchmark_group("rules");
    let count = loaded.rules.groups.iter().map(|group| group.rules.len()).sum::<usize>();
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("8 rules over 50 series", |bencher| {
        let fresh = || (Engine::new(loaded.rules.clone(), settings.clone()), store.clone());
        let last = Millis((POINTS - 1) * STEP_MS);
        bencher.iter_batched_ref(
            fresh,
            |(engine, store)| black_box(engine.evaluate(store, last)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn samples(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("samples");
    group.throughput(Throughput::Elements(POINTS as u64 * NODES as u64 * 2));
    group.bench_function("stored", |bencher| bencher.iter(|| black_box(filled()).len()));
    let store = filled();
    group.throughput(Throughput::Elements(POINTS as u64 * NODES as u64));
    for expression in [
        "sum(increase(all_total[1d]))",
        "avg(avg_over_time(all_total[1d]))",
        "max(max_over_time(all_total[1d]))",
        "sum(changes(all_total[1d]))",
        "max(stddev_over_time(all_total[1d]))",
        "max(quantile_over_time(0.9, all_total[1d]))",
        "max(deriv(all_total[1d]))",
    ] {
        let expr = parse(expression, Dialect::V2.into()).expect("an expression of this bench");
        let at = Millis(POINTS * STEP_MS);
        group.bench_function(expression, |bencher| {
            bencher.iter(|| {
                let query = Query::instant(&store, Settings::default(), at);
                black_box(query.elements(&expr, at).expect("it has an answer"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rules, samples);
criterion_main!(benches);
