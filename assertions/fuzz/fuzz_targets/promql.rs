//! No text makes the PromQL parser panic, and what it reads can be shown, read again and evaluated over nothing.
#![no_main]

use assertions::promql::ast::Dialect;
use assertions::promql::eval::{Query, Settings};
use assertions::promql::parse::parse;
use assertions::promql::selection;
use assertions::store::Store;
use assertions::time::Millis;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::V2, Dialect::V3] {
        let Ok(expr) = parse(text, dialect.into()) else { continue };
        assert!(parse(&expr.to_string(), dialect.into()).is_ok(), "{expr} is not read again");
        let windows = selection::windows(&expr);
        // A subquery of many steps is slow, not wrong.
        if windows.longest().as_secs() > 3600 || text.contains(':') {
            continue;
        }
        let store = Store::new();
        let settings = Settings { dialect, ..Settings::default() };
        let _ = Query::instant(&store, settings, Millis(0)).evaluate(&expr, Millis(0));
    }
});
