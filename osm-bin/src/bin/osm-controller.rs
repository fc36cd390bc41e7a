//! The control plane as a daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    osm_bin::daemon::main()
}
