//! Listening on an address, also where a host has no IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use nix::errno::Errno;
use tokio::net::TcpListener;

/// Listens. On a host without IPv6, `[::]` is all of its addresses as well.
pub(crate) async fn listen(address: SocketAddr, whom: &str) -> Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(instead) => TcpListener::bind(instead).await,
            None => Err(error),
        },
        bound => bound,
    };
    bound.with_context(|| {
        format!("listening for {whom} on {address}: is another control plane running, or the port taken?")
    })
}

/// What to listen on instead, where a host can't listen on `[::]` for having no IPv6.
pub(super) fn without_ipv6(address: SocketAddr, error: &std::io::Error) -> Option<SocketAddr> {
    let errors = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL].map(|errno| Some(errno as i32));
    let is_everywhere = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (is_everywhere && errors.contains(&error.raw_os_error()))
        .then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}
