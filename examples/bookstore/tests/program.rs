//! The program `bookstore-app` as its user meets it: environment, exit codes, signals.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bookstore-app"));
    command.env_clear();
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_bad_environment_is_refused_with_its_variable_and_value() {
    for (role, variable, value) in [
        ("store", "PORT", "99999"),
        ("buyer", "NEW_CONNECTIONS", "perhaps"),
        ("thief", "CI_SLEEP_BETWEEN_REQUESTS_MS", "1s"),
        ("warehouse", "LEDGER_SVC_PORT", "tcp://10.0.0.1:14002"),
    ] {
        let output = program().arg(role).env(variable, value).output().expect("the program");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(variable) && text(&output).contains(value), "{}", text(&output));
    }
}

#[test]
fn an_identity_that_is_no_header_value_is_refused() {
    let output =
        program().args(["store", "--port", "0"]).env("IDENTITY", "a\nb").output().expect("the program");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("IDENTITY \"a\\nb\""), "{}", text(&output));
}

#[test]
fn a_port_that_is_taken_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let port = address.port().to_string();
    for backtrace in ["0", "1"] {
        let mut command = program();
        command
            .args(["ledger", "--listen-address", "127.0.0.1", "--port", &port])
            .env("RUST_BACKTRACE", backtrace);
        let output = command.output().expect("the program");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with(&format!("error: listening on {address}: ")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn version_and_help_are_printed() {
    let version = program().arg("--version").output().expect("the program");
    assert_eq!(text(&version), format!("bookstore-app {}\n", env!("CARGO_PKG_VERSION")));
    let help = program().args(["buyer", "--help"]).output().expect("the program");
    assert!(help.status.success() && text(&help).contains("BOOKSTORE_NAMESPACE"), "{}", text(&help));
}

#[test]
fn a_termination_signal_ends_each_application_well() {
    for role in ["buyer", "thief", "store", "warehouse", "ledger"] {
        let mut child = program()
            .args([role, "--listen-address", "127.0.0.1", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert!(first.contains("listening") && first.contains("127.0.0.1:"), "{role}: {first}");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
        let status = child.wait().expect("its end");
        assert!(status.success(), "{role}: {status}");
    }
}
