//! Whom a panel asks: Prometheus, which this program can check, or another system.

use scenarios::yaml::Node;
use std::collections::BTreeMap;

/// Who answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Prometheus, or who speaks its language.
    Prometheus,
    /// Another one: its queries are left alone.
    Other,
    /// Nothing says.
    Unknown,
}

/// Plugins that take PromQL as it is.
const PROMETHEUS: &[&str] =
    &["prometheus", "grafana-amazonprometheus-datasource", "grafana-azureprometheus-datasource"];
/// What gives other systems away in the name that somebody gave them.
const OTHERS: &[&str] = &[
    "athena",
    "azure",
    "bigquery",
    "clickhouse",
    "cloudwatch",
    "elastic",
    "graphite",
    "influx",
    "jaeger",
    "loki",
    "mssql",
    "mysql",
    "opensearch",
    "opentsdb",
    "postgres",
    "pyroscope",
    "sqlite",
    "stackdriver",
    "tempo",
    "testdata",
    "zabbix",
    "zipkin",
];

/// What the dashboard says of the data sources that its panels name.
pub(super) struct Datasources<'d> {
    /// The plugin behind a variable or an input of the dashboard.
    plugins: BTreeMap<&'d str, &'d str>,
}

impl<'d> Datasources<'d> {
    /// `tree` is the file, `root` the dashboard in it.
    pub(super) fn of(tree: &'d Node, root: &'d Node) -> Datasources<'d> {
        let text = |node: &'d Node, key: &str| node.get(key).and_then(Node::text);
        let list = |node: Option<&'d Node>| node.map(Node::items).unwrap_or_default();
        let variables = list(root.get("templating").and_then(|node| node.get("list")));
        let variables = variables
            .iter()
            .filter(|variable| variable.get("type").and_then(Node::text) == Some("datasource"))
            .filter_map(|variable| Some((text(variable, "name")?, text(variable, "query")?)));
        let inputs = list(root.get("__inputs").or_else(|| tree.get("__inputs")));
        let inputs = inputs.iter().filter_map(|input| Some((text(input, "name")?, text(input, "pluginId")?)));
        Datasources { plugins: variables.chain(inputs).collect() }
    }

    /// Whom a node asks; `None` if it does not say, so that what is above it counts.
    pub(super) fn system(&self, node: &Node) -> Option<System> {
        // Since version 2 of the schema a query is `{kind: DataQuery, group: PLUGIN, spec: {...}}`, before that `kind: PLUGIN`.
        if node.get("spec").is_some_and(|spec| spec.get("expr").is_some()) {
            let plugin = node.get("group").or_else(|| node.get("kind")).and_then(Node::text)?;
            return Some(of_plugin(plugin));
        }
        let datasource = node.get("datasource").filter(|datasource| !datasource.is_null())?;
        let name = datasource.text().or_else(|| datasource.get("uid").and_then(Node::text));
        match datasource.get("type").and_then(Node::text) {
            // Each query of a mixed panel says for itself.
            Some("datasource") => Some(System::Unknown),
            Some(plugin) if !plugin.starts_with('$') => Some(of_plugin(plugin)),
            _ => Some(self.named(name?)),
        }
    }

    fn named(&self, name: &str) -> System {
        let inner = name
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .or_else(|| name.strip_prefix("[[")?.strip_suffix("]]"))
            .or_else(|| name.strip_prefix('$'));
        if let Some(plugin) = inner.and_then(|name| self.plugins.get(name.split(':').next()?)) {
            return of_plugin(plugin);
        }
        let name = name.to_lowercase();
        match OTHERS.iter().any(|other| name.contains(other)) {
            true => System::Other,
            false => System::Unknown,
        }
    }
}

fn of_plugin(plugin: &str) -> System {
    if PROMETHEUS.contains(&plugin) { System::Prometheus } else { System::Other }
}
