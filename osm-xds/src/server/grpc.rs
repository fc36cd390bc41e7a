//! gRPC on one HTTP/2 stream: requests out of a body, responses into one.
//!
//! Streams are many, and silent most of their lives, so none keeps a buffer
//! between two messages: a request that came in one piece is read where it lies, one
//! in several pieces from a buffer that goes with it. A response is written in
//! pieces as the transport takes them: of a large one, only what is on its way
//! exists as bytes, and no second one is made while the first is not taken.
//!
//! It is not the place that knows what messages say ([`super::wire`]).
//! Specification: "gRPC over HTTP2". Compression is not offered.

use std::convert::Infallible;
use std::error::Error;
use std::future::{poll_fn, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming};
use prost::Message;
use tonic::{Code, Status};

use super::wire::{HEADER, Pieces};
use crate::session::Response;

/// The body of a response to a call.
pub(super) type Responses = UnsyncBoxBody<Bytes, Infallible>;

/// The header that says how messages may be compressed.
const ENCODING: &str = "grpc-encoding";

/// The requests of a call, each read when it is asked for.
pub(super) struct Requests<R, B = Incoming> {
    body: B,
    /// How large a message may be.
    limit: usize,
    /// What came in and was not looked at yet.
    unread: Bytes,
    /// The beginning of a message whose end has not come yet.
    partial: Vec<u8>,
    message: PhantomData<fn() -> R>,
}

impl<R, B> Requests<R, B>
where
    R: Message + Default,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    /// The requests of a call, each of this many bytes at most.
    ///
    /// # Errors
    /// When they are to be compressed.
    pub(super) fn new(call: http::Request<B>, limit: usize) -> Result<Self, Status> {
        if let Some(encoding) = call.headers().get(ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(Status::unimplemented(format!(
                "messages compressed as {encoding:?} are not read here"
            )));
        }
        let body = call.into_body();
        Ok(Self { body, limit, unread: Bytes::new(), partial: Vec::new(), message: PhantomData })
    }

    /// Takes messages of this many bytes from now on.
    pub(super) fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next request; `None` when there will be none. Safe to cancel.
    ///
    /// # Errors
    /// When what comes is no request, or the connection breaks.
    pub(super) async fn message(&mut self) -> Result<Option<R>, Status> {
        poll_fn(|context| self.poll_message(context)).await
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<R>, Status>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.unread = data,
                    Err(_) => return Poll::Ready(self.end()),
                },
                Some(Err(error)) => {
                    let status = Status::from_error(error.into());
                    // A client that goes away is no failure of the stream.
                    let is_gone = status.code() == Code::Cancelled;
                    return Poll::Ready(if is_gone { Ok(None) } else { Err(status) });
                }
                None => return Poll::Ready(self.end()),
            }
        }
    }

    fn end(&self) -> Result<Option<R>, Status> {
        if self.partial.is_empty() {
            return Ok(None);
        }
        Err(Status::internal("the stream of requests ends within a message"))
    }

    /// The first message of what came in, if it is whole.
    fn take_message(&mut self) -> Result<Option<R>, Status> {
        if self.partial.is_empty()
            && let Some(length) = message_length(&self.unread, self.limit)?
            && self.unread.len() >= HEADER + length
        {
            return decode(&self.unread.split_to(HEADER + length)).map(Some);
        }
        while !self.unread.is_empty() {
            let whole = HEADER + message_length(&self.partial, self.limit)?.unwrap_or(0);
            let piece = self.unread.split_to(self.unread.len().min(whole - self.partial.len()));
            self.partial.extend_from_slice(&piece);
            if message_length(&self.partial, self.limit)?.is_some_and(|l| self.partial.len() == HEADER + l) {
                return decode(&std::mem::take(&mut self.partial)).map(Some);
            }
        }
        Ok(None)
    }
}

/// How long a message is that begins like this, once enough of it is there.
fn message_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Status> {
    let Some(&[compressed, a, b, c, d]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match compressed {
        0 if length <= limit => Ok(Some(length)),
        0 => {
            let text = format!("a request of {length} bytes is too large; at most {limit} are read");
            Err(Status::out_of_range(text))
        }
        1 => Err(Status::internal("a request is compressed, and none was said to be")),
        flag => Err(Status::internal(format!("a request is neither compressed nor not: flag {flag}"))),
    }
}

fn decode<R: Message + Default>(whole: &[u8]) -> Result<R, Status> {
    let refuse = |error| Status::invalid_argument(format!("a request is no discovery request: {error}"));
    R::decode(&whole[HEADER..]).map_err(refuse)
}

/// The response to a call that carries these messages; the first status among
/// them ends it.
pub(super) fn streaming(
    messages: impl Stream<Item = Result<Response, Status>> + Send + 'static,
) -> http::Response<Responses> {
    let frames = |message: Result<Response, Status>| match message {
        Ok(response) => stream::iter(Pieces::of(response).map(Frame::data)).left_stream(),
        Err(status) => end(&status).right_stream(),
    };
    let body = StreamBody::new(messages.flat_map(frames).chain(end(&Status::ok(""))).map(Ok));
    let mut response = http::Response::new(Responses::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn end(status: &Status) -> impl Stream<Item = Frame<Bytes>> + use<> {
    stream::once(ready(Frame::trailers(trailers(status))))
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // The text can't be a header; the code can.
        trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
    use futures::FutureExt;

    use super::*;

    /// The nonces of the requests in a body of these pieces, and how it ends.
    fn read(pieces: &[&[u8]]) -> (Vec<String>, Option<Code>) {
        let frames =
            pieces.iter().map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
        let body = StreamBody::new(stream::iter(frames.collect::<Vec<_>>()));
        let mut requests = Requests::<DeltaDiscoveryRequest, _>::new(http::Request::new(body), 1000)
            .expect("not compressed");
        let mut nonces = Vec::new();
        loop {
            match requests.message().now_or_never().expect("everything is there") {
                Ok(Some(request)) => nonces.push(request.response_nonce),
                Ok(None) => {
                    assert_eq!(requests.partial.capacity(), 0, "nothing is kept");
                    return (nonces, None);
                }
                Err(status) => return (nonces, Some(status.code())),
            }
        }
    }

    fn message(nonce: &str) -> Vec<u8> {
        let request = DeltaDiscoveryRequest { response_nonce: nonce.to_owned(), ..Default::default() };
        let bytes = request.encode_to_vec();
        let length = u32::try_from(bytes.len()).expect("it is short");
        [&[0][..], &length.to_be_bytes(), &bytes].concat()
    }

    #[test]
    fn requests_are_read_however_they_are_cut_into_pieces() {
        let whole = [message("one"), message(""), message("three")].concat();
        let expected: Vec<String> = ["one", "", "three"].map(ToOwned::to_owned).to_vec();
        for size in 1..=whole.len() {
            let pieces: Vec<&[u8]> = whole.chunks(size).collect();
            assert_eq!(read(&pieces), (expected.clone(), None), "pieces of {size}");
        }
        let (nonces, end) = read(&[&whole[..whole.len() - 1]]);
        assert_eq!((nonces.len(), end), (2, Some(Code::Internal)), "it ends within the last");
    }

    #[test]
    fn a_compressed_call_is_refused() {
        let mut call = http::Request::new(http_body_util::Empty::<Bytes>::new());
        call.headers_mut().insert(ENCODING, HeaderValue::from_static("gzip"));
        let refused = Requests::<DeltaDiscoveryRequest, _>::new(call, 1000).map(drop);
        assert_eq!(refused.map_err(|status| status.code()), Err(Code::Unimplemented));
    }

    #[test]
    fn the_length_of_a_message_is_known_when_its_header_is() {
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[0, 0, 0, 1], Ok(None)),
            (&[0, 0, 0, 1, 2], Ok(Some(258))),
            (&[0, 0, 0, 0, 0, 9], Ok(Some(0))),
            (&[0, 0, 1, 0, 0], Err(Code::OutOfRange)),
            (&[1, 0, 0, 0, 1], Err(Code::Internal)),
            (&[7, 0, 0, 0, 1], Err(Code::Internal)),
        ] {
            let length = message_length(bytes, 1000).map_err(|status| status.code());
            assert_eq!(length, expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let refused = decode::<DeltaDiscoveryRequest>(&[0, 0, 0, 0, 2, 0xff, 0xff]);
        assert_eq!(refused.map_err(|status| status.code()), Err(Code::InvalidArgument));
    }
}
