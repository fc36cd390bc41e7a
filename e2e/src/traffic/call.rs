//! Calls in words, as tables and command lines have them.

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
use http::{Method, Uri};

/// A call to make, so often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How often; the outcome is that of all, each one once.
    pub times: u32,
    /// What it is.
    pub what: What,
}

/// What a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An HTTP request: `GET host:port/path header=value …`. With `h2` at the end it is
    /// sent as HTTP/2 without asking first. The header `host` replaces that of the URL.
    Http {
        /// Its method.
        method: Method,
        /// Where to.
        url: Uri,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Whether it is HTTP/2.
        http2: bool,
    },
    /// A connection on which a line is answered: `TCP host:port`; where the server
    /// speaks first: `FIRST host:port`.
    Tcp {
        /// Where to.
        to: String,
        /// Whether the server speaks first.
        server_first: bool,
    },
    /// A WebSocket on which two texts are echoed: `SOCKET host:port/path`.
    WebSocket {
        /// Where to.
        url: Uri,
    },
    /// A gRPC call: `GRPC host:port/method`.
    Grpc {
        /// Where to.
        to: String,
        /// `Unary`, `Stream`, or one that does not exist.
        method: String,
    },
}

impl FromStr for Call {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut times = 1;
        if words.get(1) == Some(&"times") {
            times = words[0].parse().context("how often")?;
            words.drain(..2);
        }
        let [verb, to, more @ ..] = words.as_slice() else { bail!("`{text}` names no verb and place") };
        let url = || format!("http://{to}").parse::<Uri>().with_context(|| format!("`{to}`"));
        let what = match *verb {
            "TCP" | "FIRST" => What::Tcp { to: (*to).to_owned(), server_first: *verb == "FIRST" },
            "SOCKET" => What::WebSocket { url: url()? },
            "GRPC" => {
                let (to, method) = to.split_once('/').context("a place and a method")?;
                What::Grpc { to: to.to_owned(), method: method.to_owned() }
            }
            method => What::Http {
                method: Method::from_bytes(method.as_bytes()).context("a method")?,
                url: url()?,
                headers: headers(more)?,
                http2: more.last() == Some(&"h2"),
            },
        };
        Ok(Self { times, what })
    }
}

fn headers(words: &[&str]) -> Result<Vec<(String, String)>> {
    let headers = words.iter().filter(|word| **word != "h2").map(|word| {
        let (name, value) = word.split_once('=').with_context(|| format!("`{word}` is no header"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    headers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_from_words() {
        let call: Call = "24 times POST web.shop:81/a?b=1 x-a=1=2 host=web h2".parse().expect("a call");
        let headers =
            [("x-a", "1=2"), ("host", "web")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let url = "http://web.shop:81/a?b=1".parse().expect("a URL");
        let what = What::Http { method: Method::POST, url, headers: headers.into(), http2: true };
        assert_eq!(call, Call { times: 24, what });
        let call: Call = "FIRST db:9000".parse().expect("a call");
        assert_eq!(call.what, What::Tcp { to: "db:9000".to_owned(), server_first: true });
        for wrong in ["", "GET", "GET web/a header", "x times GET a/b", "GRPC web:80"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }
}
