//! Connections that begin inside a pod's network namespace.
//!
//! A socket belongs for ever to the namespace that it was made in. So a thread
//! enters the namespace, connects, hands the socket over and ends: no other
//! thread of this process is ever anywhere else than in the node's.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Where `ip netns` keeps its namespaces.
const FOLDER: &str = "/run/netns";

/// The file of a network namespace.
#[must_use]
pub(super) fn file(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Connects from inside a network namespace.
///
/// # Errors
/// When there is no such namespace, or nothing accepts the connection in time.
pub(super) async fn connect(name: &str, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let path = file(name);
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        // Whoever asked may have given up.
        drop(sender.send(connect_here(&path, address, timeout)));
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the connecting thread ended"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_here(path: &Path, address: SocketAddr, timeout: Duration) -> io::Result<std::net::TcpStream> {
    setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
    std::net::TcpStream::connect_timeout(&address, timeout)
}
