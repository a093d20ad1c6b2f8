//! Every rule file of every pack loads, in both dialects, without a warning.

use assertions::promql::ast::Dialect;
use assertions::rule;
use scenarios::span::Source;
use std::path::Path;
use std::sync::Arc;

#[test]
fn every_rule_file_of_every_pack_loads() {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/packs");
    let mut files = 0;
    for pack in std::fs::read_dir(packs).unwrap() {
        for name in ["rules.yml", "rules.corrected.yml"] {
            let path = pack.as_ref().unwrap().path().join(name);
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let source = Arc::new(Source { name: path.display().to_string(), text });
            for dialect in [Dialect::V2, Dialect::V3] {
                let loaded = rule::load(std::slice::from_ref(&source), dialect.into()).unwrap();
                assert_eq!(loaded.warnings, [], "{}", path.display());
                assert!(loaded.rules.alerts().count() > 0);
            }
            files += 1;
        }
    }
    assert!(files >= 2, "the im-gateway pack has two");
}
