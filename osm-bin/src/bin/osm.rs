//! The command line of the mesh.

use std::process::ExitCode;

fn main() -> ExitCode {
    osm_bin::cli::main()
}
