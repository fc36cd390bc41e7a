//! The connections that are open: as many as there are places, and seen off in the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::places::Places;

/// How long requests have to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait where no connection can be accepted, for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Those who are connected.
pub(super) struct Guests {
    /// What they came for, as logs call it.
    to: &'static str,
    places: Places,
    closing: watch::Sender<()>,
    connections: JoinSet<()>,
}

impl Guests {
    /// Nobody yet.
    pub(super) fn new(to: &'static str) -> Self {
        let (closing, _) = watch::channel(());
        Self { to, places: Places::default(), closing, connections: JoinSet::new() }
    }

    /// Serves those who come until `shutdown`, and then lets requests end.
    pub(super) async fn receive<F>(
        mut self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
        talk: impl Fn(TcpStream, watch::Receiver<()>) -> F,
    ) where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = shutdown.as_mut() => break,
                () = self.one_leaves() => {}
                (socket, address) = accept(&listener) => self.admit(address, |closed| talk(socket, closed)),
            }
        }
        drop(listener);
        self.see_off().await;
    }

    /// Serves a connection, if there is a place for one more of its address; else it is
    /// dropped, which closes it. Those who are to leave are told by the channel's end.
    fn admit<F>(&mut self, address: SocketAddr, talk: impl FnOnce(watch::Receiver<()>) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let Some(place) = self.places.take(address.ip()) else { return };
        let (to, talk) = (self.to, talk(self.closing.subscribe()));
        self.connections.spawn(async move {
            if let Err(error) = talk.await {
                tracing::debug!(%address, %error, "connection to {to} breaks");
            }
            drop(place);
        });
    }

    /// Waits until one has left; for ever where nobody is there.
    async fn one_leaves(&mut self) {
        if self.connections.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets requests end, for a while.
    async fn see_off(self) {
        let Self { closing, mut connections, .. } = self;
        drop(closing);
        let drain = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            connections.shutdown().await;
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "new connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    /// Connects from an address of this machine's own.
    async fn from(last: u8, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("an address");
        socket.connect(to).await.expect("a connection")
    }

    #[tokio::test]
    async fn a_stranger_who_holds_connections_open_takes_the_place_of_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a port");
        let pages = Router::new().route("/", get(async || "a page"));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = crate::webhook::serve_plain(listener, pages, async { drop(stopped.await) });
        let asking = async {
            let mut strangers = Vec::new();
            for _ in 0..200 {
                strangers.push(from(2, address).await);
            }
            let mut probe = from(3, address).await;
            probe
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .expect("it is taken");
            let mut answer = String::new();
            probe.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.ends_with("a page"), "{answer}");
            // Those beyond the bound were closed.
            let mut last = strangers.pop().expect("a stranger");
            let end = last.read(&mut [0; 8]).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
            stop.send(()).expect("it is serving");
            drop(strangers);
        };
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(serving, asking) })
            .await
            .expect("in time");
    }
}
