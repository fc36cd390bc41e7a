//! The example runs, serves, and ends on Ctrl-C.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// Ends the program even if the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_example_serves_until_ctrl_c() {
    let program = env!("CARGO_BIN_EXE_embed-without-kubernetes");
    let child = Command::new(program).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut running = Ended(child);
    let mut lines = BufReader::new(running.0.stdout.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    let words = line.strip_prefix("serving Envoys of the mesh on ").expect("it says where it serves");
    let address: SocketAddr = words.split(';').next().expect("an address").parse().expect("an address");
    TcpStream::connect(address).expect("it listens");
    let interrupted = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    assert!(running.0.wait().expect("it ends").success());
}
