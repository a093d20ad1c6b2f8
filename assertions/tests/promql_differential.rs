//! Random expressions over random series: our evaluator in dialect 2 against Prometheus 2.42's `promtool`.
//!
//! Each answer must have the same elements, and values as near as the expression allows: equal to 4 units in the last
//! place where both do the same operations in the same order, to 1e-9 where sums are taken in an order that Prometheus
//! leaves to chance or where a mathematical library is used. Errors must meet errors. A case that differs is printed as
//! a promqltest script. `PROMQL_CASES` and `PROMQL_SEED` set how many and which (`ci/promql-differential`).

mod dice;
mod promql_differential {
    pub(crate) mod expressions;
    pub(crate) mod promtool;
    pub(crate) mod samples;
}

use assertions::promql::ast::Dialect;
use assertions::promql::eval::{Query, Settings};
use assertions::promql::parse::parse;
use assertions::store::Store;
use assertions::time::Millis;
use dice::Dice;
use promql_differential::expressions::{Author, Exactness, Text};
use promql_differential::promtool::{self, Answer, Asked};
use promql_differential::samples::World;
use std::path::{Path, PathBuf};

/// Expressions over one world.
const CASES_A_WORLD: usize = 25;
/// Worlds in one call of promtool.
const WORLDS_A_CALL: usize = 16;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// A world and expressions about it, and how exact each must be.
fn generate(dice: &mut Dice) -> (Asked, Vec<Exactness>) {
    let world = World::random(dice);
    let end_ms = world.end_ms();
    let mut asked = Asked { world, cases: Vec::new() };
    let mut exactness = Vec::new();
    while asked.cases.len() < CASES_A_WORLD {
        let at = dice.below(end_ms as u64 + 400_000) as i64;
        let at = if dice.one_in(2) { at / 15_000 * 15_000 } else { at };
        let Text { text, exactness: how } = Author { dice, end_ms }.expression();
        asked.cases.push((at, text));
        exactness.push(how);
    }
    (asked, exactness)
}

/// What we answer.
fn answer(store: &Store, at: i64, expression: &str) -> Answer {
    let expr = parse(expression, Dialect::V2.into()).map_err(|error| error.to_string())?;
    let settings = Settings { dialect: Dialect::V2, ..Settings::default() };
    let elements = Query::instant(store, settings, Millis(at)).elements(&expr, Millis(at));
    let elements = elements.map_err(|error| error.to_string())?;
    let mut answer: Vec<(String, f64)> = elements.iter().map(|e| (e.labels.to_string(), e.value)).collect();
    answer.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(answer)
}

fn agree(ours: &Answer, theirs: &Answer, exactness: Exactness) -> bool {
    match (ours, theirs) {
        (Err(_), Err(_)) => true,
        (Ok(ours), Ok(theirs)) => {
            let near = |a: &(String, f64), b: &(String, f64)| a.0 == b.0 && close(a.1, b.1, exactness);
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| near(a, b))
        }
        _ => false,
    }
}

fn close(a: f64, b: f64, exactness: Exactness) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let distance = (a - b).abs();
    match exactness {
        Exactness::Short | Exactness::Same => distance <= 4.0 * f64::EPSILON * a.abs().max(b.abs()),
        Exactness::Near => distance <= 1e-9 * a.abs().max(b.abs()).max(1.0),
    }
}

/// A case as a script that anybody's runner can read, with promtool's answer as the one expected.
fn script(world: &World, at: i64, expression: &str, ours: &Answer, theirs: &Answer) -> String {
    let mut text = format!("load {}ms\n", world.step_ms);
    let metric = |name: &str| name.split('{').next().unwrap_or_default().to_string();
    for series in world.series.iter().filter(|s| expression.contains(&metric(&s.name))) {
        text.push_str(&format!("  {} {}\n", series.name, series.notation()));
    }
    text.push_str(&format!("\neval instant at {at}ms {expression}\n"));
    match theirs {
        Err(error) => text.push_str(&format!("  expect fail\n# {error}\n")),
        Ok(elements) => {
            elements.iter().for_each(|(labels, value)| text.push_str(&format!("  {labels} {value}\n")))
        }
    }
    format!("{text}# but we answer {ours:?}\n")
}

/// Runs cases; returns how many, how many had elements, and those that differ, as scripts.
fn compare(cases: usize, seed: u64, folder: &Path) -> (usize, usize, Vec<String>) {
    let mut dice = Dice(seed);
    let (mut run, mut full, mut differ) = (0, 0, Vec::new());
    while run < cases {
        let (asked, exactness): (Vec<_>, Vec<_>) = (0..WORLDS_A_CALL).map(|_| generate(&mut dice)).unzip();
        let theirs = promtool::answers(folder, &asked);
        let mut theirs = theirs.iter();
        for (asked, exactness) in asked.iter().zip(&exactness) {
            let store = asked.world.store();
            for ((at, expression), exactness) in asked.cases.iter().zip(exactness) {
                let theirs = theirs.next().expect("as many answers as cases");
                let ours = answer(&store, *at, expression);
                run += 1;
                full += usize::from(matches!(theirs, Ok(elements) if !elements.is_empty()));
                if !agree(&ours, theirs, *exactness) {
                    differ.push(script(&asked.world, *at, expression, &ours, theirs));
                }
            }
        }
    }
    (run, full, differ)
}

#[test]
fn random_expressions_have_promtools_answers() {
    let (cases, seed) = (number("PROMQL_CASES", 800) as usize, number("PROMQL_SEED", 1));
    let (run, full, differ) = compare(cases, seed, &folder("promql-differential"));
    println!("seed {seed}: {run} cases, {full} with elements, {} differ", differ.len());
    let shown: Vec<&str> = differ.iter().take(20).map(String::as_str).collect();
    assert!(
        differ.is_empty(),
        "seed {seed}: {} of {run} cases differ\n\n{}",
        differ.len(),
        shown.join("\n\n")
    );
    assert!(full * 2 > run, "only {full} of {run} answers have elements: the cases are too tame");
}

#[test]
fn a_wrong_answer_is_seen() {
    let mut dice = Dice(7);
    let (asked, exactness) = generate(&mut dice);
    let asked = [asked];
    let theirs = promtool::answers(&folder("promql-differential-negative"), &asked);
    let store = asked[0].world.store();
    let mut seen = 0;
    for (((at, expression), theirs), exactness) in asked[0].cases.iter().zip(&theirs).zip(exactness) {
        let Ok(mut ours) = answer(&store, *at, expression) else { continue };
        let Some(first) = ours.first_mut() else { continue };
        if first.1.is_finite() {
            first.1 += 1e-6 * first.1.abs().max(1.0);
            assert!(!agree(&Ok(ours.clone()), theirs, exactness), "{expression}");
            ours.pop();
            assert!(!agree(&Ok(ours), theirs, exactness), "{expression}");
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} answers could be falsified");
}
