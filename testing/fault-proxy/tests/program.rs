//! The program, controlled by lines of JSON.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

fn start(arguments: &[&str]) -> Program {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidewire-fault-proxy"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut address = String::new();
    lines.read_line(&mut address).expect("the address");
    Program { child, lines, address: address.trim().to_owned() }
}

impl Program {
    fn tell(&mut self, command: &str) -> Value {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{command}").expect("written");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }
}

#[test]
fn commands_change_what_goes_wrong_and_the_end_of_the_input_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let mut program = start(&["--target", &target, "--faults", r#"{"down":{"truncate_after":2}}"#]);
    let connect = |program: &Program| {
        let client = TcpStream::connect(&program.address).expect("connects");
        (client, listener.accept().expect("accepted").0)
    };
    let rest = |mut client: TcpStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    };
    let (client, mut server) = connect(&program);
    server.write_all(b"abc").expect("written");
    assert_eq!(rest(client).expect("a FIN"), "ab");

    assert_eq!(program.tell(r#"{"do":"set","faults":{}}"#), json!({"ok": true}));
    for (command, fin) in [("cut", true), ("reset", false)] {
        let (client, mut server) = connect(&program);
        server.write_all(b"abc").expect("written");
        client.peek(&mut [0; 3]).expect("arrived");
        assert_eq!(program.tell(&json!({"do": command}).to_string()), json!({"ok": true}));
        assert_eq!(rest(client).is_ok(), fin);
    }
    let counters = program.tell(r#"{"do":"counters"}"#);
    assert_eq!((&counters["accepted"], &counters["ended"]), (&json!(3), &json!(3)));
    for mistake in ["cut", r#"{"do":"cat"}"#, r#"{"do":"set","faults":{"upp":{}}}"#] {
        assert!(program.tell(mistake)["error"].is_string(), "{mistake}");
    }
    drop(program.child.stdin.take());
    assert!(program.child.wait().expect("ended").success());
}

#[test]
fn a_mode_can_be_given_at_the_start() {
    let mut program = start(&["--target", "127.0.0.1:1", "--http", "kill-upgrade"]);
    let mut client = TcpStream::connect(&program.address).expect("connects");
    client.write_all(b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n").expect("written");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    program.child.kill().expect("killed");
    program.child.wait().expect("reaped");
}

#[test]
fn mistakes_are_explained() {
    for (arguments, hint) in [
        (vec![], "--target"),
        (vec!["--target", "x:1", "--faults", "{"], "--faults"),
        (vec!["--target", "x:1", "--listen", "nowhere"], "nowhere"),
    ] {
        let program = Command::new(env!("CARGO_BIN_EXE_tidewire-fault-proxy")).args(arguments).output();
        let output = program.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}
