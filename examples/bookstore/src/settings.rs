//! Settings of the demo applications, from the command line or the environment.
//!
//! Every option has an environment variable, shown as the option's value name, so that an error about a bad value names
//! the variable. No variable is called `<SERVICE>_PORT`: Kubernetes sets those itself to `tcp://...`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

/// The port that the HTTP applications listen on.
pub const HTTP_PORT: u16 = 14001;
/// The port that the ledger listens on.
pub const LEDGER_PORT: u16 = 14002;

/// Command line of `bookstore-app`.
#[derive(Debug, Parser)]
#[command(name = "bookstore-app", version, about = "The applications of the bookstore demo")]
pub struct Cli {
    /// Which application to be.
    #[command(subcommand)]
    pub role: Role,
}

/// The application to run.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Buys books from the bookstore, on and on.
    Buyer(ShopperSettings),
    /// Makes the same requests as the buyer, without being one.
    Thief(ShopperSettings),
    /// Sells books and restocks the warehouse.
    Store(StoreSettings),
    /// Takes restocked books and keeps their total in the ledger.
    Warehouse(WarehouseSettings),
    /// Keeps a total behind a TCP protocol in which the server speaks first.
    Ledger(LedgerSettings),
    /// Sends one HTTP GET and prints status, headers and body.
    Fetch(FetchSettings),
    /// Sends one command to a ledger and prints its greeting and its answer.
    AskLedger(AskLedgerSettings),
}

/// Where an application listens.
#[derive(Debug, Clone, Args)]
pub struct ListenSettings {
    /// Address to listen on.
    #[arg(long, env = "LISTEN_ADDRESS", value_name = "LISTEN_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub listen_address: IpAddr,
    /// HTTP port to listen on; 0 takes a free one.
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = HTTP_PORT)]
    pub port: u16,
}

impl ListenSettings {
    /// Returns address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.listen_address, self.port)
    }
}

/// How an application calls another one.
#[derive(Debug, Clone, Args)]
pub struct CallSettings {
    /// Opens a new connection for every request instead of keeping one.
    #[arg(long, env = "NEW_CONNECTIONS", value_name = "NEW_CONNECTIONS", default_value = "false",
          num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub new_connections: bool,
    /// Milliseconds after which a request counts as failed.
    #[arg(long, env = "REQUEST_TIMEOUT_MS", value_name = "REQUEST_TIMEOUT_MS", default_value_t = 5_000,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub request_timeout_ms: u64,
    /// Writes one log line per so many requests.
    #[arg(long, env = "LOG_EVERY_REQUESTS", value_name = "LOG_EVERY_REQUESTS", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub log_every_requests: u64,
}

impl CallSettings {
    /// Returns the time limit of one request.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// Settings of buyer and thief.
#[derive(Debug, Clone, Args)]
pub struct ShopperSettings {
    /// Name in logs; the role's name when not given.
    #[arg(long, env = "IDENTITY", value_name = "IDENTITY")]
    pub identity: Option<String>,
    /// Where the counters are served.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// Service to buy from.
    #[arg(long, env = "BOOKSTORE_SVC", value_name = "BOOKSTORE_SVC", default_value = "bookstore")]
    pub bookstore_svc: String,
    /// Namespace of that service; empty for a plain host name.
    #[arg(
        long,
        env = "BOOKSTORE_NAMESPACE",
        value_name = "BOOKSTORE_NAMESPACE",
        default_value = "bookstore"
    )]
    pub bookstore_namespace: String,
    /// Port of that service.
    #[arg(long, env = "BOOKSTORE_SVC_PORT", value_name = "BOOKSTORE_SVC_PORT", default_value_t = HTTP_PORT)]
    pub bookstore_svc_port: u16,
    /// Value of the request header `client-app`. The thief claims to be the buyer: only its identity gives it away.
    #[arg(long, env = "CLIENT_APP", value_name = "CLIENT_APP", default_value = "bookbuyer")]
    pub client_app: String,
    /// Milliseconds from one request to the next of each connection; 0 sends without a pause.
    #[arg(long, env = "CI_SLEEP_BETWEEN_REQUESTS_MS", value_name = "CI_SLEEP_BETWEEN_REQUESTS_MS", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub sleep_between_requests_ms: u64,
    /// Requests under way at the same time.
    #[arg(long, env = "CI_CLIENT_CONCURRENT_CONNECTIONS", value_name = "CI_CLIENT_CONCURRENT_CONNECTIONS", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrent_connections: u16,
    /// Stops after so many requests and goes on serving the counters; 0 never stops.
    #[arg(
        long,
        env = "CI_MAX_ITERATIONS_THRESHOLD",
        value_name = "CI_MAX_ITERATIONS_THRESHOLD",
        default_value_t = 0
    )]
    pub max_requests: u64,
    /// How requests are sent.
    #[command(flatten)]
    pub call: CallSettings,
}

/// Settings of a bookstore.
#[derive(Debug, Clone, Args)]
pub struct StoreSettings {
    /// Name that the response header `Identity` carries.
    #[arg(long, env = "IDENTITY", value_name = "IDENTITY", default_value = "bookstore")]
    pub identity: String,
    /// Where the store listens.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// Service of the warehouse.
    #[arg(long, env = "WAREHOUSE_SVC", value_name = "WAREHOUSE_SVC", default_value = "bookwarehouse")]
    pub warehouse_svc: String,
    /// Namespace of that service; empty for a plain host name.
    #[arg(
        long,
        env = "BOOKWAREHOUSE_NAMESPACE",
        value_name = "BOOKWAREHOUSE_NAMESPACE",
        default_value = "bookwarehouse"
    )]
    pub bookwarehouse_namespace: String,
    /// Port of that service.
    #[arg(long, env = "WAREHOUSE_SVC_PORT", value_name = "WAREHOUSE_SVC_PORT", default_value_t = HTTP_PORT)]
    pub warehouse_svc_port: u16,
    /// Milliseconds that a sale takes.
    #[arg(long, env = "SALE_TIME_MS", value_name = "SALE_TIME_MS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub sale_time_ms: u64,
    /// How restock requests are sent.
    #[command(flatten)]
    pub call: CallSettings,
}

/// Settings of the warehouse.
#[derive(Debug, Clone, Args)]
pub struct WarehouseSettings {
    /// Name that the response header `Identity` carries.
    #[arg(long, env = "IDENTITY", value_name = "IDENTITY", default_value = "bookwarehouse")]
    pub identity: String,
    /// Where the warehouse listens.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// Service of the ledger.
    #[arg(long, env = "LEDGER_SVC", value_name = "LEDGER_SVC", default_value = "bookledger")]
    pub ledger_svc: String,
    /// Namespace of that service; empty for a plain host name.
    #[arg(long, env = "LEDGER_NAMESPACE", value_name = "LEDGER_NAMESPACE", default_value = "bookwarehouse")]
    pub ledger_namespace: String,
    /// Port of that service.
    #[arg(long, env = "LEDGER_SVC_PORT", value_name = "LEDGER_SVC_PORT", default_value_t = LEDGER_PORT)]
    pub ledger_svc_port: u16,
    /// How the ledger is called.
    #[command(flatten)]
    pub call: CallSettings,
}

/// Settings of the ledger.
#[derive(Debug, Clone, Args)]
pub struct LedgerSettings {
    /// Name in the greeting.
    #[arg(long, env = "IDENTITY", value_name = "IDENTITY", default_value = "bookledger")]
    pub identity: String,
    /// Address to listen on.
    #[arg(long, env = "LISTEN_ADDRESS", value_name = "LISTEN_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub listen_address: IpAddr,
    /// TCP port to listen on; 0 takes a free one.
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = LEDGER_PORT)]
    pub port: u16,
}

/// Settings of one GET.
#[derive(Debug, Clone, Args)]
pub struct FetchSettings {
    /// Address such as `http://bookstore.bookstore:14001/raw`.
    pub url: String,
    /// Value of the request header `client-app`.
    #[arg(long, default_value = "bookbuyer")]
    pub client_app: String,
    /// Milliseconds to wait for the response.
    #[arg(long, default_value_t = 5_000)]
    pub timeout_ms: u64,
}

/// Settings of one ledger command.
#[derive(Debug, Clone, Args)]
pub struct AskLedgerSettings {
    /// Address such as `bookledger.bookwarehouse:14002`.
    pub address: String,
    /// `TOTAL`, `PING` or `ADD n`.
    #[arg(required = true, num_args = 1..=2)]
    pub command: Vec<String>,
    /// Milliseconds to wait for each line.
    #[arg(long, default_value_t = 5_000)]
    pub timeout_ms: u64,
}

/// Returns `service.namespace:port`, or `service:port` when `namespace` is empty.
pub fn authority(service: &str, namespace: &str, port: u16) -> String {
    if namespace.is_empty() { format!("{service}:{port}") } else { format!("{service}.{namespace}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("bookstore-app").chain(arguments.iter().copied()))
    }

    #[test]
    fn a_bad_value_is_refused_and_its_variable_named() {
        let cases: [(&[&str], &str); 5] = [
            (&["buyer", "--port", "seventy"], "PORT"),
            (&["buyer", "--new-connections", "perhaps"], "NEW_CONNECTIONS"),
            (&["buyer", "--sleep-between-requests-ms", "soon"], "CI_SLEEP_BETWEEN_REQUESTS_MS"),
            (&["thief", "--concurrent-connections", "0"], "CI_CLIENT_CONCURRENT_CONNECTIONS"),
            (&["store", "--sale-time-ms", "99999999"], "SALE_TIME_MS"),
        ];
        for (arguments, variable) in cases {
            let error = parse(arguments).expect_err("a bad value").to_string();
            let value = arguments[2];
            assert!(error.contains(variable) && error.contains(value), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn new_connections_is_a_switch_that_also_takes_a_value() {
        for (arguments, expected) in [
            (&["buyer", "--new-connections"][..], true),
            (&["buyer", "--new-connections", "1"], true),
            (&["buyer", "--new-connections", "no"], false),
        ] {
            let Role::Buyer(settings) = parse(arguments).expect("valid").role else { panic!("not a buyer") };
            assert_eq!(settings.call.new_connections, expected, "{arguments:?}");
        }
    }

    #[test]
    fn an_authority_leaves_out_an_empty_namespace() {
        assert_eq!(authority("bookstore", "books", 14001), "bookstore.books:14001");
        assert_eq!(authority("127.0.0.1", "", 80), "127.0.0.1:80");
    }
}
