//! The applications against each other over loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bookstore::ledger_client::{LedgerConnection, LedgerError};
use bookstore::settings::{Cli, Role};
use bookstore::shopper::Shopper;
use bookstore::{ledger, shopper, store, warehouse};
use bytes::Bytes;
use clap::Parser;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

/// Applications that end with the test.
struct Shop {
    applications: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Shop {
    fn new() -> Self {
        Self { applications: JoinSet::new(), stop: CancellationToken::new() }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    async fn ledger(&mut self) -> SocketAddr {
        let (listener, address) = Self::listener().await;
        self.applications.spawn(ledger::run(listener, "bookledger".to_owned(), self.stop.clone()));
        address
    }

    async fn warehouse(&mut self, ledger: SocketAddr, more: &[&str]) -> SocketAddr {
        let (listener, address) = Self::listener().await;
        let port = ledger.port().to_string();
        let own =
            ["warehouse", "--ledger-svc", "127.0.0.1", "--ledger-namespace", "", "--ledger-svc-port", &port];
        let Role::Warehouse(settings) = role(&own, more) else { panic!("not a warehouse") };
        self.applications.spawn(warehouse::run(listener, settings, self.stop.clone()));
        address
    }

    async fn store(&mut self, identity: &str, warehouse: SocketAddr, more: &[&str]) -> SocketAddr {
        let (listener, address) = Self::listener().await;
        let port = warehouse.port().to_string();
        let own = [
            "store",
            "--identity",
            identity,
            "--warehouse-svc",
            "127.0.0.1",
            "--bookwarehouse-namespace",
            "",
        ];
        let Role::Store(settings) = role(&[&own[..], &["--warehouse-svc-port", &port]].concat(), more) else {
            panic!("not a store")
        };
        self.applications.spawn(store::run(listener, settings, self.stop.clone()));
        address
    }

    async fn buyer(&mut self, store: SocketAddr, more: &[&str]) -> SocketAddr {
        let (listener, address) = Self::listener().await;
        let port = store.port().to_string();
        let own = [
            "buyer",
            "--bookstore-svc",
            "127.0.0.1",
            "--bookstore-namespace",
            "",
            "--bookstore-svc-port",
            &port,
        ];
        let Role::Buyer(settings) = role(&own, more) else { panic!("not a buyer") };
        self.applications.spawn(shopper::run(Shopper::Buyer, listener, settings, self.stop.clone()));
        address
    }
}

fn role(own: &[&str], more: &[&str]) -> Role {
    let arguments = std::iter::once("bookstore-app").chain(own.iter().copied()).chain(more.iter().copied());
    Cli::try_parse_from(arguments).expect("valid settings").role
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn call(
    method: Method,
    address: SocketAddr,
    path: &str,
    body: &'static str,
) -> (u16, http::HeaderMap, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    let request = request.body(Full::from(body)).expect("a request");
    let response = within(path, client.request(request)).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
}

async fn raw(address: SocketAddr) -> Value {
    let (status, _, body) = call(Method::GET, address, "/raw", "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Waits for some bytes, or the end, from the other side.
async fn heard(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.read(&mut [0; 1024]).await
}

/// Polls `/raw` until `enough`.
async fn raw_when(address: SocketAddr, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    within(what, async {
        loop {
            let counters = raw(address).await;
            if enough(&counters) {
                return counters;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn books_that_are_bought_reach_the_ledger() {
    for mode in [&[][..], &["--new-connections"]] {
        let mut shop = Shop::new();
        let ledger = shop.ledger().await;
        let warehouse = shop.warehouse(ledger, mode).await;
        let store = shop.store("bookstore-v1", warehouse, mode).await;
        let more =
            ["--sleep-between-requests-ms", "0", "--max-requests", "100", "--concurrent-connections", "4"];
        let buyer = shop.buyer(store, &[&more[..], mode].concat()).await;

        let bought = raw_when(buyer, "100 requests", |raw| raw["requests"] == 100).await;
        assert_eq!(bought["failures"], 0, "{bought}");
        assert_eq!(bought["booksBought"], 50, "{bought}");
        assert_eq!(bought["booksBoughtV1"], 50, "{bought}");
        assert_eq!(bought["booksBoughtV2"], 0, "{bought}");
        assert_eq!(bought["byStatus"]["200"], 100, "{bought}");
        assert_eq!(bought["byIdentity"]["bookstore-v1"], 100, "{bought}");

        let sold = raw_when(store, "50 restocked", |raw| raw["restocked"] == 50).await;
        assert_eq!((&sold["booksSold"], &sold["restockFailures"]), (&50.into(), &0.into()), "{sold}");
        let kept = raw(warehouse).await;
        assert_eq!((&kept["total"], &kept["ledgerFailures"]), (&50.into(), &0.into()), "{kept}");
        let mut connection = LedgerConnection::open(&ledger.to_string(), LIMIT).await.expect("a ledger");
        assert_eq!(connection.ask("TOTAL").await.expect("a total"), "OK 50");
    }
}

#[tokio::test]
async fn failures_are_counted_by_status_and_by_kind() {
    // Of three connections, answers the first with 403, closes the second and leaves the third without an answer.
    let (listener, address) = Shop::listener().await;
    let mut shop = Shop::new();
    shop.applications.spawn(async move {
        loop {
            let (mut refused, _) = listener.accept().await?;
            heard(&mut refused).await?;
            refused
                .write_all(b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await?;
            let (mut closed, _) = listener.accept().await?;
            heard(&mut closed).await?;
            drop(closed);
            let (mut silent, _) = listener.accept().await?;
            heard(&mut silent).await?;
            // Held open until the client gives up.
            heard(&mut silent).await?;
        }
    });
    let more = ["--sleep-between-requests-ms", "0", "--max-requests", "6", "--request-timeout-ms", "300"];
    let buyer = shop.buyer(address, &more).await;
    let counters = raw_when(buyer, "six failures", |raw| raw["requests"] == 6).await;
    assert_eq!((&counters["failures"], &counters["booksBought"]), (&6.into(), &0.into()), "{counters}");
    assert_eq!(counters["byStatus"], serde_json::json!({"403": 2}), "{counters}");
    assert_eq!(counters["byError"], serde_json::json!({"closed": 2, "timeout": 2}), "{counters}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_a_connect_failure() {
    let (listener, address) = Shop::listener().await;
    drop(listener);
    let mut shop = Shop::new();
    let buyer = shop.buyer(address, &["--sleep-between-requests-ms", "0", "--max-requests", "4"]).await;
    let counters = raw_when(buyer, "four failures", |raw| raw["requests"] == 4).await;
    assert_eq!(counters["byError"], serde_json::json!({"connect": 4}), "{counters}");
}

#[tokio::test]
async fn new_connections_opens_one_connection_for_each_request() {
    for (mode, expected) in [(&[][..], 1), (&["--new-connections"], 6)] {
        let (front, address) = Shop::listener().await;
        let mut shop = Shop::new();
        let (nobody, gone) = Shop::listener().await;
        drop(nobody);
        let store = shop.store("bookstore-v1", gone, &[]).await;
        let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
        shop.applications.spawn(async move {
            let mut pipes = JoinSet::new();
            loop {
                let (mut client, _) = front.accept().await?;
                let mut server = TcpStream::connect(store).await?;
                count.send(())?;
                pipes.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            }
        });
        let more = ["--sleep-between-requests-ms", "0", "--max-requests", "6"];
        let buyer = shop.buyer(address, &[&more[..], mode].concat()).await;
        raw_when(buyer, "six requests", |raw| raw["requests"] == 6).await;
        let mut connections = 0;
        while counted.try_recv().is_ok() {
            connections += 1;
        }
        assert_eq!(connections, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn every_store_response_says_who_served_it() {
    let mut shop = Shop::new();
    let (nobody, gone) = Shop::listener().await;
    drop(nobody);
    let store = shop.store("bookstore-v2", gone, &[]).await;
    for path in ["/", "/books-bought", "/raw", "/liveness", "/readiness", "/startup", "/nothing-here"] {
        let (_, headers, _) = call(Method::GET, store, path, "").await;
        assert_eq!(headers["identity"], "bookstore-v2", "{path}");
        assert_eq!(headers["booksbought"], "0", "{path}");
    }
    assert_eq!(call(Method::GET, store, "/buy-a-book/new", "").await.1["booksbought"], "1");
    assert_eq!(call(Method::POST, store, "/books-bought", "41").await.0, 200);
    assert_eq!(call(Method::GET, store, "/books-bought", "").await.2, "41\n");
    assert_eq!(call(Method::POST, store, "/books-bought", "many").await.0, 400);
    assert_eq!(call(Method::GET, store, "/reset", "").await.0, 405);
    assert_eq!(call(Method::POST, store, "/reset", "").await.0, 200);
    assert_eq!(call(Method::GET, store, "/books-bought", "").await.2, "0\n");
}

#[tokio::test]
async fn a_store_sells_while_its_warehouse_is_away() {
    let mut shop = Shop::new();
    let (nobody, gone) = Shop::listener().await;
    drop(nobody);
    let store = shop.store("bookstore-v1", gone, &[]).await;
    assert_eq!(call(Method::GET, store, "/buy-a-book/new", "").await.0, 200);
    let counters = raw_when(store, "a failed restock", |raw| raw["restockFailures"] == 1).await;
    assert_eq!((&counters["booksSold"], &counters["restocked"]), (&1.into(), &0.into()), "{counters}");
}

#[tokio::test]
async fn a_warehouse_without_its_ledger_refuses_and_recovers() {
    let mut shop = Shop::new();
    let (nobody, address) = Shop::listener().await;
    drop(nobody);
    let warehouse = shop.warehouse(address, &[]).await;
    assert_eq!(call(Method::POST, warehouse, "/restock-books", "1").await.0, 503);
    assert_eq!(call(Method::POST, warehouse, "/restock-books", "a book").await.0, 400);

    for life in 0..2 {
        // The second life of the ledger finds the warehouse with a connection to the first.
        let listener = within("the ledger's port again", async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let stop = CancellationToken::new();
        let ledger = tokio::spawn(ledger::run(listener, "bookledger".to_owned(), stop.clone()));
        let (status, headers, body) = call(Method::POST, warehouse, "/", "7").await;
        assert_eq!((status, body.as_str()), (200, "7\n"), "life {life}");
        assert_eq!(headers["identity"], "bookwarehouse");
        stop.cancel();
        within("the ledger's end", ledger).await.expect("no panic").expect("no error");
    }
    let counters = raw(warehouse).await;
    assert_eq!((&counters["ledgerFailures"], &counters["restocked"]), (&1.into(), &14.into()), "{counters}");
}

#[tokio::test]
async fn the_ledger_speaks_first_and_survives_nonsense() {
    let mut shop = Shop::new();
    let address = shop.ledger().await;
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    let mut greeting = [0; 20];
    within("the greeting", silent.read_exact(&mut greeting)).await.expect("a greeting");
    assert_eq!(&greeting, b"LEDGER 1 bookledger\n");

    let mut flood = TcpStream::connect(address).await.expect("a connection");
    let nonsense = vec![b'x'; 1 << 20];
    // The ledger hangs up before it has read it all.
    within("the end of a flood", async {
        flood.write_all(&nonsense).await.ok();
        flood.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;

    let mut connection = LedgerConnection::open(&address.to_string(), LIMIT).await.expect("a ledger");
    assert!(connection.ask("HELLO").await.expect("an answer").starts_with("ERR "));
    assert!(matches!(connection.add(u64::MAX).await, Ok(u64::MAX)));
    assert!(matches!(connection.add(1).await, Err(LedgerError::Refused(_))));
    assert!(connection.is_alive().await);
}

#[tokio::test]
async fn a_client_of_the_ledger_tells_silence_from_another_protocol() {
    let (listener, address) = Shop::listener().await;
    let mut shop = Shop::new();
    shop.applications.spawn(async move {
        drop(listener.accept().await?);
        listener.accept().await?.0.write_all(b"HTTP/1.1 400 Bad Request\r\n").await?;
        let (mut mute, _) = listener.accept().await?;
        heard(&mut mute).await?;
        Ok(())
    });
    let open = |limit| LedgerConnection::open("127.0.0.1:0", limit);
    assert!(matches!(open(LIMIT).await, Err(LedgerError::Io(_))));
    let address = address.to_string();
    let open = |limit| LedgerConnection::open(&address, limit);
    assert!(matches!(open(LIMIT).await, Err(LedgerError::Silent)));
    assert!(matches!(open(LIMIT).await, Err(LedgerError::Greeting(_))));
    assert!(matches!(open(Duration::from_millis(100)).await, Err(LedgerError::Timeout)));
}

#[tokio::test]
async fn everything_ends_when_told_to() {
    let mut shop = Shop::new();
    let ledger = shop.ledger().await;
    let warehouse = shop.warehouse(ledger, &[]).await;
    let store = shop.store("bookstore-v1", warehouse, &[]).await;
    let buyer = shop.buyer(store, &["--sleep-between-requests-ms", "1"]).await;
    raw_when(buyer, "some requests", |raw| raw["requests"].as_u64() > Some(10)).await;
    shop.stop.cancel();
    while let Some(ended) = within("the applications' end", shop.applications.join_next()).await {
        ended.expect("no panic").expect("no error");
    }
}
