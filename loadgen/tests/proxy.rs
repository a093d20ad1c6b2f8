//! `loadgen proxy` as a process: its first line, its control, its end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("proxy").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The process and its first line.
fn start(arguments: &[&str]) -> (Child, serde_json::Value) {
    let mut child = loadgen(arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn ask(control: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(control).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_stands_in_the_way_until_it_is_told_to_end() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = server.local_addr().unwrap().to_string();
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--control", "127.0.0.1:0"];
    let (mut child, listening) = start(&arguments);
    let (control, address) = (listening["control"].as_str().unwrap(), listening["address"].as_str().unwrap());
    let mut client = TcpStream::connect(address).unwrap();
    let (mut accepted, _) = server.accept().unwrap();
    client.write_all(b"here").unwrap();
    let mut came = [0; 4];
    accepted.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"here");
    let answer = ask(control, "POST /proxies/main/toxics", r#"{"type":"reset_peer"}"#);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(client.read(&mut came).is_err() && accepted.read(&mut came).is_err());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_it_cannot_begin_with_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, code, reason) in [
        (&["--control", &taken][..], 113, "choose another with --control"),
        (&["--listen", "127.0.0.1:0"], 2, "--upstream"),
        (&["--listen", &taken, "--upstream", "127.0.0.1:1"], 113, "cannot listen on"),
        (&["--listen", "here", "--upstream", "127.0.0.1:1"], 113, "write host:port"),
        (&["--config", "/nowhere.json"], 113, "/nowhere.json: No such file"),
    ] {
        let output = loadgen(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}
