use super::*;
use clap::Args as _;
use clap::FromArgMatches as _;

/// Settings from a command line without its program, and from variables.
fn settings(words: &[&str], variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
    let command = Telemetry::augment_args(clap::Command::new("gateway").no_binary_name(true))
        .mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let flags = Telemetry::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
    let get =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::new(&flags, "n1", &Environment(&get))
}

const ENDPOINT: &[&str] = &["--otlp-endpoint", "http://c:4318"];

#[track_caller]
fn metrics(words: &[&str], variables: &[(&str, &str)]) -> Destination {
    settings(words, variables).unwrap().and_then(|settings| settings.metrics).expect("an export of metrics")
}

fn attribute(settings: &Settings, key: &str) -> String {
    let attribute = settings.resource.attributes.iter().find(|attribute| attribute.key == key);
    format!("{:?}", attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()))
}

#[test]
fn nothing_is_sent_unless_asked_for() {
    for (words, variables) in [
        (&[][..], &[][..]),
        (&["--otlp-endpoint", ""], &[]),
        (ENDPOINT, &[("OTEL_SDK_DISABLED", "TRUE")]),
        (
            ENDPOINT,
            &[
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_TRACES_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
            ],
        ),
    ] {
        assert!(settings(words, variables).unwrap().is_none(), "{words:?} {variables:?}");
    }
    for (words, variables) in [
        (ENDPOINT, &[("OTEL_SDK_DISABLED", "no"), ("OTEL_METRICS_EXPORTER", "otlp")][..]),
        (&[][..], &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c/m")]),
    ] {
        assert!(settings(words, variables).unwrap().is_some(), "{words:?} {variables:?}");
    }
}

#[test]
fn a_path_is_added_to_the_address_of_all_signals_and_to_no_other() {
    let url = |words: &[&str], variables: &[(&str, &str)]| metrics(words, variables).url.to_string();
    assert_eq!(url(ENDPOINT, &[]), "http://c:4318/v1/metrics");
    assert_eq!(url(&["--otlp-endpoint", "https://c/otlp/"], &[]), "https://c/otlp/v1/metrics");
    let own = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1/x")];
    assert_eq!(url(ENDPOINT, &own), "http://m:1/x");
}

#[test]
fn log_records_are_gathered_as_spans_are_unless_told_otherwise() {
    let batch = |words: &[&str], variables: &[(&str, &str)]| {
        let settings = settings(words, variables).unwrap().unwrap();
        let Batch { size, delay, queue } = settings.log_batch;
        (size, delay.as_millis(), queue, settings.log_queue())
    };
    let flags = [ENDPOINT, &["--otlp-batch", "7", "--otlp-delay", "3s", "--otlp-queue", "70"]].concat();
    assert_eq!(batch(&flags, &[]), (7, 3000, 70, Some(70)));
    let own = [
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "8"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "40"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "80"),
    ];
    assert_eq!(batch(&flags, &own), (8, 40, 80, Some(80)));
    assert_eq!(batch(&flags, &[("OTEL_LOGS_EXPORTER", "none")]).3, None);
    for (name, _) in own {
        for value in ["0", "-1", "many"] {
            let error = settings(ENDPOINT, &[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is `{value}`; write a number")), "{error}");
        }
    }
}

#[test]
fn what_is_set_for_one_signal_wins() {
    let plain = metrics(ENDPOINT, &[]);
    assert_eq!((plain.timeout, plain.gzip, plain.headers.len()), (Duration::from_secs(10), false, 0));
    let all = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,y=2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let destination = metrics(ENDPOINT, &all);
    assert_eq!(destination.headers["x-key"], "a b");
    assert!(destination.gzip && destination.headers["x-key"].is_sensitive());
    let own = [
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "z=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
    ];
    let destination = metrics(ENDPOINT, &[&all[..], &own].concat());
    assert_eq!((destination.timeout, destination.gzip), (Duration::from_millis(1500), false));
    assert_eq!(destination.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["z"]);
}

#[test]
fn samplers_have_the_names_of_the_standard() {
    let words = [ENDPOINT, &["--trace-ratio", "25%"]].concat();
    let of = |variables: &[(&str, &str)]| {
        let sampler = settings(&words, variables).unwrap().unwrap().sampler;
        (sampler.ratio, sampler.follows_parent)
    };
    assert_eq!(of(&[]), (0.25, true));
    for (name, expected) in [
        ("parentbased_traceidratio", (0.25, true)),
        ("traceidratio", (0.25, false)),
        ("parentbased_always_on", (1.0, true)),
        ("always_on", (1.0, false)),
        ("parentbased_always_off", (0.0, true)),
        ("always_off", (0.0, false)),
    ] {
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER", name)]), expected, "{name}");
    }
    for (ratio, expected) in
        [("0", Some(0.0)), ("1", Some(1.0)), ("0.5", Some(0.5)), ("2", None), ("x", None)]
    {
        let words = ["--otlp-endpoint", "http://c", "--trace-ratio", ratio];
        let command = Telemetry::augment_args(clap::Command::new("gateway").no_binary_name(true));
        let read = command
            .try_get_matches_from(words)
            .ok()
            .and_then(|matches| matches.get_one("trace_ratio").copied());
        assert_eq!(read, expected, "{ratio}");
    }
}

#[test]
fn the_resource_is_named_by_the_environment_first() {
    let plain = settings(ENDPOINT, &[]).unwrap().unwrap();
    assert!(attribute(&plain, "service.name").contains("im-gateway"));
    assert!(attribute(&plain, "service.instance.id").contains("n1"));
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=x%2Cy");
    let named = settings(ENDPOINT, &[attributes]).unwrap().unwrap();
    assert!(attribute(&named, "service.name").contains("\"a\""));
    assert!(attribute(&named, "deployment.environment.name").contains("x,y"));
    let named = settings(ENDPOINT, &[attributes, ("OTEL_SERVICE_NAME", "b")]).unwrap().unwrap();
    assert!(attribute(&named, "service.name").contains("\"b\""));
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_write() {
    let key = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    for (words, variables, expected) in [
        (&["--otlp-endpoint", "nowhere"][..], &[][..], "`nowhere` is no address"),
        (&["--otlp-endpoint", "ftp://c"], &[], "`ftp://c` is no address"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "`grpc`; only http/protobuf"),
        (
            ENDPOINT,
            &[("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json")],
            "_METRICS_PROTOCOL is `http/json`",
        ),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")], "write gzip or none"),
        (ENDPOINT, &[("OTEL_TRACES_SAMPLER", "jaeger_remote")], "write always_on"),
        (ENDPOINT, &[("OTEL_METRICS_EXPORTER", "prometheus")], "write otlp or none"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "ten")], "number of milliseconds"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")], "OTEL_EXPORTER_OTLP_HEADERS is no list"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret")], "`a b` cannot be a header"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_HEADERS", "ab=s3cret%0A")], "`ab` cannot be a header"),
        (ENDPOINT, &[("OTEL_RESOURCE_ATTRIBUTES", "a")], "OTEL_RESOURCE_ATTRIBUTES is no list"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")], "cannot read /nowhere.pem"),
        (ENDPOINT, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/proc/self/stat")], "holds no PEM"),
        (ENDPOINT, &[(key, "/k.pem")], "must be named by …_CLIENT_CERTIFICATE"),
    ] {
        let said = settings(words, variables).unwrap_err().to_string();
        assert!(said.contains(expected) && !said.contains("s3cret"), "{said}");
    }
}
