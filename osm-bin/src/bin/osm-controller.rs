//! The control plane as a daemon.

use std::process::ExitCode;

/// Gives back what a storm of proxies needed, and shares less between threads.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    osm_bin::daemon::main()
}
