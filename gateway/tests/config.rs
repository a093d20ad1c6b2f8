//! A flag wins over the environment, the environment over the file, the file over what is built in.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the file is written");
    path
}

#[test]
fn each_value_comes_from_the_first_place_that_gives_it() {
    let text = "listen = \"127.0.0.1:0\"\nnode = \"file\"\nshards = 1\nenable-test-faults = true\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--follow-stdin", "--shards", "2", "--config"])
        .arg(file("precedence.toml", text))
        .env("GATEWAY_AUTH_KEY", "a secret of thirty-two bytes or more")
        .env("GATEWAY_NODE", "environment")
        .env("GATEWAY_SHARDS", "3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(listening["shards"], 2, "the flag: {line}");
    assert_eq!(listening["node"], "environment", "{line}");
    assert_ne!(listening["address"], "127.0.0.1:8080", "the file: {line}");
}

#[test]
fn a_file_with_an_unknown_name_starts_nothing() {
    let path = file("unknown.toml", "node = \"n\"\nlissten = \"127.0.0.1:0\"\n");
    let output =
        Command::new(env!("CARGO_BIN_EXE_gateway")).arg("--config").arg(&path).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected =
        format!("error: {}:2: there is no flag `lissten`; did you mean `listen`?\n", path.display());
    assert_eq!((output.status.code(), said.as_ref()), (Some(113), expected.as_str()));
}

#[test]
fn a_certificate_without_its_key_starts_nothing() {
    let path = file("half.toml", "listen = \"127.0.0.1:0\"\ntls-cert = \"cert.pem\"\n");
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--config")
        .arg(&path)
        .env("GATEWAY_AUTH_KEY", "a secret of thirty-two bytes or more")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(113), "{said}");
    assert!(!said.contains("error: error:"), "{said}");
    assert!(said.contains("required") && said.contains("--tls-key"), "{said}");
}

/// What `--print-config` says, with these flags besides.
fn printed(flags: &[&str], file: &PathBuf) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--print-config", "--config"])
        .arg(file)
        .args(flags)
        .env("GATEWAY_AUTH_KEY", "a secret of thirty-two bytes or more")
        .env("GATEWAY_PUSH_TOKEN", "another secret")
        .env("GATEWAY_DEFLATE", "yes")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_is_printed_says_whence_and_reads_back() {
    let text = "node = \"a \\\"b\\\" # c\"\nack-timeout = \"8s\"\nenable-test-faults = true\necho = true\nshards = 3\n\
                push-url = \"https://me:hidden@push.example.com/\"\n";
    let first = printed(&["--shards", "2", "--enable-test-faults=false"], &file("print.toml", text));
    for line in [
        r#"node = "a \"b\" # c" # file"#,
        "ack-timeout = \"8s\" # file",
        "echo = true # file",
        "deflate = true # environment",
        "shards = 2 # flag",
        "enable-test-faults = false # flag",
        "heartbeat = \"30s\" # default",
        "# idle-timeout is not set",
        "# auth-key is set, from environment; it is not shown, and no file takes it",
        "# push-token is set, from environment; it is not shown, and no file takes it",
        "# push-url is set, from file; it holds a password and is not shown",
    ] {
        assert!(first.lines().any(|other| other == line), "{line} is missing in\n{first}");
    }
    assert!(!first.contains("secret") && !first.contains("hidden"), "{first}");

    let values = |text: &str| -> Vec<String> {
        let settings = text.lines().filter(|line| !line.starts_with('#'));
        settings.map(|line| line.rsplit_once(" # ").expect("each says whence").0.to_owned()).collect()
    };
    let second = printed(&[], &file("printed.toml", &first));
    assert_eq!(values(&second), values(&first));
    assert!(second.contains("heartbeat = \"30s\" # file"), "{second}");
}

#[test]
fn a_switch_takes_yes_or_no_and_nothing_else() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gateway")).arg("--deflate=perhaps").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
