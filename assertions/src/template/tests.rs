use super::*;

const NOTHING: Ask<'static> = &|_| Ok(Vec::new());

/// Two instances of `up`, out of order.
fn answer(text: &str) -> Result<Vec<(Labels, f64)>, String> {
    match text {
        "up" => Ok([("b", 0.0), ("a", 1.0)]
            .map(|(instance, value)| {
                (Labels::from_pairs([("__name__", "up"), ("instance", instance)]), value)
            })
            .to_vec()),
        "none" => Ok(Vec::new()),
        other => Err(format!("cannot ask {other}")),
    }
}

fn filled(template: &str, value: f64, dialect: Dialect) -> String {
    let parsed = Template::parse(template, dialect).unwrap_or_else(|fault| panic!("{template}: {fault:?}"));
    let labels =
        Labels::from_pairs([("instance", "gw-1:8080"), ("share", "0.25"), ("html", "<a href='x'>&\"")]);
    let external_labels = Labels::from_pairs([("cluster", "eu")]);
    parsed.fill(&Facts {
        alert: "A",
        value,
        labels: &labels,
        external_labels: &external_labels,
        external_url: "https://prom.example.com/base/x?y",
        now: Millis(90_000),
        query: &answer,
    })
}

/// What Go and Prometheus make of it.
#[track_caller]
fn check(template: &str, value: f64, expected: &str) {
    assert_eq!(filled(template, value, Dialect::V2), expected, "{template}");
}

#[test]
fn values_are_printed_as_go_prints_them() {
    check("plain", 1.0, "plain");
    check("{{ $labels.instance }} is at {{$value}}{{ $labels.none }}.", 10_001.0, "gw-1:8080 is at 10001.");
    check("{{ $externalLabels.cluster | toUpper }}", 1.0, "EU");
    check("{{ $value }}", 1e6, "1e+06");
    check("{{ $value }}", 123_456_789.25, "1.2345678925e+08");
    check("{{ $value }}", 0.000012345678, "1.2345678e-05");
    check("{{ .Value }} {{ .Labels.instance }}", f64::NAN, "NaN gw-1:8080");
    check(
        "{{ $externalLabels }} {{ true }} {{ 1.0 }} {{ 'a' }} {{ 0x1F }}",
        1.0,
        "map[cluster:eu] true 1 97 31",
    );
    check(
        "{{ .ExternalLabels.none }}|{{ .none | printf }}",
        1.0,
        &error(
            30,
            "<.none>",
            "can't evaluate field none in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }",
        ),
    );
}

/// Prometheus' message about the place `at` of a text without line ends.
fn error(at: usize, place: &str, message: &str) -> String {
    let column = at + PREAMBLE.len();
    format!(
        "<error expanding template: error executing template __alert_A: template: __alert_A:1:{column}: executing \"__alert_A\" at {place}: {message}>"
    )
}

#[test]
fn numbers_become_readable() {
    check("{{ $value | humanize }} {{ humanize $value }}", 123_456.0, "123.5k 123.5k");
    check("{{ $value | humanize }}", 0.00042, "420u");
    check("{{ $value | humanize1024 }}", 123_456_789.25, "117.7Mi");
    check("{{ $value | humanizePercentage }}", 0.000_100_1, "0.01001%");
    check("{{ $labels.share | humanizePercentage }}", 0.0, "25%");
    check("{{ $value | humanizeDuration }}", 0.6, "600ms");
    check("{{ $value | humanizeDuration }}", 123_456_789.25, "1428d 21h 33m 9s");
    check("{{ $value | humanizeDuration }}", 0.0, "0s");
    check("{{ $value | humanizeTimestamp }}", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC");
    check("{{ $value | humanizeTimestamp }}", f64::INFINITY, "+Inf");
    check("{{ humanize 1500 }} {{ humanize \"2500\" }}", 0.0, "1.5k 2.5k");
    check("{{ parseDuration \"1h30m\" }}", 0.0, "5400");
    check(
        "{{ ($value | toTime).Unix }} {{ (toTime $value).Format \"Mon Jan _2 15:04:05.000 2006 PM\" }}",
        1_435_065_584.128,
        "1435065584 Tue Jun 23 13:19:44.128 2015 PM",
    );
    check(
        "{{ humanize $labels.instance }}",
        0.0,
        &error(
            3,
            "<humanize $labels.instance>",
            "error calling humanize: strconv.ParseFloat: parsing \"gw-1:8080\": invalid syntax",
        ),
    );
}

#[test]
fn printf_has_gos_verbs_and_flags() {
    check("{{ printf \"%.2f and %%\" $value }}", 1.239, "1.24 and %");
    check("{{ $value | printf \"%8.3f|\" }}", 1.0, "   1.000|");
    check("{{ printf \"%.3e %d\" $value }}", 123_456_789.25, "1.235e+08 %!d(MISSING)");
    check(
        "{{ printf \"%s %q %x %10s|%-10s|\" $labels.instance \"a\\n\" \"hi\" \"r\" \"l\" }}",
        1.0,
        "gw-1:8080 \"a\\n\" 6869          r|l         |",
    );
    check(
        "{{ printf \"%d %5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%U\" 7 7 7 -7 7 255 255 8 5 'x' 'x' }}",
        1.0,
        "7     7|7    |-0007|+7|ff|FF|10|101|x|U+0078",
    );
    check("{{ printf \"%d\" $value }}", 1.5, "%!d(float64=1.5)");
    check("{{ printf \"%s\" 1 }}", 1.0, "%!s(int=1)");
    check("{{ printf \"a\" 1 $value \"x\" }}", 1.5, "a%!(EXTRA int=1, float64=1.5, string=x)");
    check("{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%*d|%.*f\" 4 2 2 1.0 }}", 1.0, "2 1    2|1.00");
    check("{{ printf \"%v %T %t %!\" $labels.share 1.5 true }}", 1.0, "0.25 float64 true %!!(MISSING)");
    check(
        "{{ printf \"%08.3f|%+.1f|% .1f|%g|%G|%E\" $value $value $value $value $value $value }}",
        -1.5,
        "-001.500|-1.5|-1.5|-1.5|-1.5|-1.500000E+00",
    );
}

#[test]
fn blocks_choose_and_repeat() {
    check("{{ if gt $value 1.0 }}high{{ else if eq $value 1.0 }}one{{ else }}low{{ end }}", 2.0, "high");
    check("{{ if gt $value 1.0 }}high{{ else if eq $value 1.0 }}one{{ else }}low{{ end }}", 1.0, "one");
    check("{{ if gt $value 1.0 }}high{{ else if eq $value 1.0 }}one{{ else }}low{{ end }}", 0.5, "low");
    check(
        "{{ with $labels.none }}{{ . }}{{ else }}none{{ end }}{{ with $x := $labels.share }}{{ $x }}{{ . }}{{ end }}",
        1.0,
        "none0.250.25",
    );
    check("{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", 1.0, "b=0;a=1;");
    check(
        "{{ range $i, $s := query \"up\" | sortByLabel \"instance\" }}{{ $i }}{{ $s.Labels.instance }}{{ end }}",
        1.0,
        "0a1b",
    );
    check("{{ range query \"none\" }}x{{ else }}none{{ end }}", 1.0, "none");
    check("{{ range $k, $v := $externalLabels }}{{ $k }}:{{ $v }}{{ end }}", 1.0, "cluster:eu");
    check(
        "{{ range query \"up\" }}{{ if eq .Value 0.0 }}{{ continue }}{{ end }}{{ .Value }}{{ break }}{{ end }}",
        1.0,
        "1",
    );
    check(
        "{{ $sum := 0.0 }}{{ range query \"up\" }}{{ if .Value }}{{ $sum = .Value }}{{ end }}{{ end }}{{ $sum }}",
        1.0,
        "1",
    );
    check(
        "{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"instance\" }} {{ len (query \"up\") }}",
        1.0,
        "0 b 2",
    );
    check(
        "{{ first (query \"none\") }}",
        1.0,
        &error(
            3,
            "<first (query \"none\")>",
            "error calling first: first() called on vector with no elements",
        ),
    );
    check("{{ query \"y\" }}", 1.0, &error(3, "<query \"y\">", "error calling query: cannot ask y"));
    check("{{ range $value }}{{ end }}", 1.5, &error(9, "<$value>", "range can't iterate over 1.5"));
}

#[test]
fn templates_call_templates() {
    check(
        "{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" $value }}{{ template \"x\" }}",
        2.0,
        "<2><<no value>>",
    );
    check(
        "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args $value \"b\") }}",
        2.0,
        "2-b",
    );
    check("{{ block \"x\" $value }}{{ $ }}{{ end }}", 2.0, "2");
    check("{{ template \"y\" . }}", 1.0, &error(12, "<{{template \"y\" .}}>", "template \"y\" not defined"));
    assert!(
        filled("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}", 1.0, Dialect::V2)
            .contains("exceeded maximum template depth")
    );
}

#[test]
fn values_compare_as_go_compares_them() {
    check(
        "{{ eq 1 2 1 }} {{ ne \"a\" \"b\" }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt \"b\" \"a\" }} {{ ge 1.5 2.5 }}",
        1.0,
        "true true true true true false",
    );
    check(
        "{{ and 1 0 2 }} {{ or 0 \"\" \"x\" }} {{ not $value }} {{ and true $labels.none }}|",
        1.0,
        "0 x false |",
    );
    check(
        "{{ gt $value 1 }}",
        2.0,
        &error(3, "<gt $value 1>", "error calling gt: incompatible types for comparison"),
    );
    check(
        "{{ lt true false }}",
        2.0,
        &error(3, "<lt true false>", "error calling lt: invalid type for comparison"),
    );
    check("{{ gt $value 1.0 }}", f64::NAN, "true");
}

#[test]
fn texts_are_cut_and_escaped() {
    check("{{ toUpper \"aé\" }} {{ \"AÉ\" | toLower }} {{ title \"a b-c_d'e\" }}", 1.0, "AÉ aé A B-C_d'E");
    check(
        "{{ match \"g.-[0-9]\" $labels.instance }} {{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}",
        1.0,
        "true gw-1",
    );
    check(
        "{{ match \"[a&&b]\" \"&\" }} {{ match \"\\\\d\" \"٣\" }} {{ match \"a{\" \"a{\" }} {{ reReplaceAll \"(?P<n>a)\" \"${n}-$1$$\" \"xa\" }}",
        1.0,
        "true false true xa-a$",
    );
    check(
        "{{ match \"(\" $labels.instance }}",
        1.0,
        &error(
            3,
            "<match \"(\" $labels.instance>",
            "error calling match: error parsing regexp: unclosed group: `(`",
        ),
    );
    check(
        "{{ stripPort $labels.instance }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripPort \"[::1]:80\" }}",
        1.0,
        "gw-1 a:80 10.0.0.1:80 ::1",
    );
    check(
        "{{ html $labels.html }} {{ js \"'<=\" }} {{ urlquery \"a b&c\" }}",
        1.0,
        "&lt;a href=&#39;x&#39;&gt;&amp;&#34; \\'\\u003C\\u003D a+b%26c",
    );
    check("{{ print 1 2 \"a\" 3 4 }}|{{ println 1 \"a\" }}", 1.0, "1 2a3 4|1 a\n");
    check(
        "{{ index $labels \"share\" }} {{ index \"abc\" 1 }} {{ slice \"abcd\" 1 3 }} {{ len \"aé\" }}",
        1.0,
        "0.25 98 bc 3",
    );
    check(
        "{{ slice \"abc\" 4 }}",
        1.0,
        &error(3, "<slice \"abc\" 4>", "error calling slice: index out of range: 4"),
    );
    check(
        "{{ graphLink \"up == 0\" }} {{ tableLink \"up\" }} {{ externalURL }} {{ pathPrefix }} {{ safeHtml \"<\" }}",
        1.0,
        "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1 https://prom.example.com/base/x?y /base/x <",
    );
    check("{{ `raw\\n` }}{{ \"\\u00e9\\x41\\101\\t\" }}|", 1.0, "raw\\néAA\t|");
}

#[test]
fn blanks_go_where_marked() {
    check("a {{- 1 -}} b {{ 2 }} c", 1.0, "a1b 2 c");
    check("a {{/* x */}} b {{- /* y */ -}} c", 1.0, "a  bc");
    check("{{ \"a | b }}\" }}", 1.0, "a | b }}");
    check("{{3 -}} x", 1.0, "3x");
}

#[test]
fn functions_of_prometheus_3_are_its_own() {
    for text in ["{{ now }}", "{{ toDuration 90 }}", "{{ urlQueryEscape \"a b\" }}"] {
        assert!(Template::parse(text, Dialect::V2).is_err_and(|fault| fault.hint.is_some()), "{text}");
    }
    assert_eq!(
        filled("{{ now }} {{ toDuration 90 }} {{ toDuration 0.0015 }}", 1.0, Dialect::V3),
        "90 1m30s 1.5ms"
    );
    assert_eq!(filled("{{ range 3 }}{{ . }}{{ end }}", 1.0, Dialect::V3), "012");
}

#[test]
fn what_prometheus_refuses_to_load_is_told_with_its_place() {
    let check = |text: &str, place: &str, summary: &str| {
        let fault = Template::parse(text, Dialect::V2).expect_err(text);
        assert_eq!((&text[fault.range.clone()], fault.summary.as_str()), (place, summary), "{text}");
    };
    check("a {{ b", "{{ b", "`{{` without `}}`");
    check("{{ hmanize 1 }}", "hmanize", "unknown function `hmanize` in a template");
    check("{{ $lables.x }}", "$lables", "unknown variable `$lables` in a template");
    check("{{ tmpl \"x\" . }}", "tmpl", "unknown function `tmpl` in a template");
    check("{{ if true }}x", "if", "`if` has no `{{ end }}`");
    check("{{ else }}", "else", "there is no block that this could belong to");
    check("{{ }}", "}}", "an action without a value");
    check("{{ (1 }}", "{{ (1 }}", "`(` is never closed");
    check("{{ 1 | 2 }}", "2", "`2` cannot take what is piped into it");
    check("{{ break }}", "break", "`break` outside of a `range`");
    check("{{ \"a }}", "\"a }}", "a text is never closed");
    check("{{ 08 }}", "08", "`08` is not a number");
    check("{{ $a, $b := 1 }}", "$a", "too many variables before `:=`");
    check("{{ define \"x\" }}{{ $value }}{{ end }}", "$value", "unknown variable `$value` in a template");
    check("{{ ${ }}", "{", "`{` after a name has no meaning");
    check("{{ 1 # }}", "#", "`#` has no meaning here");
}

#[test]
fn nesting_and_length_have_an_end() {
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(Template::parse(&deep, Dialect::V2).is_err());
    let blocks = "{{ if true }}".repeat(5000) + &"{{ end }}".repeat(5000);
    assert!(Template::parse(&blocks, Dialect::V2).is_err());
    let long = "{{ define \"a\" }}{{ printf \"%9999d\" 1 }}{{ end }}".to_string()
        + &"{{ template \"a\" }}".repeat(200);
    assert!(filled(&long, 1.0, Dialect::V2).contains("longer than"));
}

/// Pieces of templates, put together at random: most are refused, the others run.
const PIECES: [&str; 48] = [
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "if ",
    "else",
    "end",
    "range ",
    "with ",
    "define \"x\"",
    "template \"x\"",
    "$",
    "$value",
    "$labels",
    ".",
    ".Value",
    ".x",
    "(",
    ")",
    "|",
    ":=",
    "=",
    ",",
    "$i",
    "\"a\"",
    "`b`",
    "1",
    "2.5",
    "'c'",
    "-",
    "printf ",
    "\"%*d%[3]s%v\"",
    "query ",
    "\"up\"",
    "first",
    "value",
    "label ",
    "index ",
    "slice ",
    "len ",
    "args ",
    "and ",
    "eq ",
    " ",
    " ",
    " ",
    "break",
    "/* c */",
];

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[ -~é]{0,60}", inner in "[ -~é]{0,30}", value: f64) {
        let none = Labels::default();
        let facts = Facts { alert: "A", value, labels: &none, external_labels: &none, external_url: "", now: Millis(0), query: NOTHING };
        for text in [text, format!("{{{{{inner}}}}}"), format!("{{{{ printf \"{inner}\" $value 1 \"x\" }}}}")] {
            if let Ok(template) = Template::parse(&text, Dialect::V3) {
                template.fill(&facts);
            }
        }
    }

    #[test]
    fn no_order_of_pieces_makes_it_panic(pieces in proptest::collection::vec(0usize..PIECES.len(), 0..24)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        for text in [format!("{{{{ {text} }}}}"), text.clone(), format!("{{{{ range query \"up\" }}}}{{{{ {text} }}}}{{{{ end }}}}")] {
            if Template::parse(&text, Dialect::V3).is_ok() {
                filled(&text, 1.0, Dialect::V3);
            }
        }
    }
}

#[test]
fn no_text_makes_more_than_fits() {
    check("{{ printf \"%.70000g\" $value }}", 1.5, "1.5");
    let fails = |template: &str, why: &str| {
        let text = filled(template, 1.0, Dialect::V3);
        assert!(text.contains("<error expanding template") && text.contains(why), "{template}: {text}");
    };
    let doubled = "{{$x = print $x $x}}".repeat(40);
    fails(&format!("{{{{$x := \"aaaaaaaa\"}}}}{doubled}"), "make more than");
    let blocks = |n: usize, inner: &str| "{{if true}}".repeat(n) + inner + &"{{end}}".repeat(n);
    let body = blocks(50, "{{template \"a\"}}");
    fails(&format!("{{{{define \"a\"}}}}{body}{{{{end}}}}{{{{template \"a\"}}}}"), "nested deeper than");
    let step = |n: usize| {
        format!("{{{{define \"a{n}\"}}}}{}{{{{end}}}}", format!("{{{{template \"a{}\"}}}}", n - 1).repeat(2))
    };
    let many: String = (1..=40).map(step).collect();
    fails(&format!("{{{{define \"a0\"}}}}{{{{end}}}}{many}{{{{template \"a40\"}}}}"), "turns");
}
