//! What is said on the wire: the part of the SPIFFE Workload API that is needed (its X.509-SVID profile,
//! section 5), and the one call.
//!
//! Lists of revoked certificates (field 2 of an answer) are not read.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use zeroize::Zeroize;

/// The most that one message may have, in bytes.
pub(super) const MAX_MESSAGE: usize = 16 * 1024 * 1024;

const METHOD: &str = "/SpiffeWorkloadAPI/FetchX509SVID";

/// Has an agent reject who was talked into asking it (SPIFFE Workload Endpoint, section 3).
const SECURITY_HEADER: &str = "workload.spiffe.io";

/// `X509SVIDRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Ask {}

/// `X509SVIDResponse`: all that this process is given, each time.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct Answer {
    #[prost(message, repeated, tag = "1")]
    pub(super) documents: Vec<Document>,
    /// Roots of other trust domains, by the SPIFFE IDs of those.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(super) federated: BTreeMap<String, Vec<u8>>,
}

/// `X509SVID`: an identity with what proves it. The key is wiped when it is dropped.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct Document {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    /// Certificates in DER one after the other, leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) chain: Vec<u8>,
    /// PKCS#8.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key: Vec<u8>,
    /// The roots of its trust domain, in DER one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) hint: String,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("documents", &self.documents).finish_non_exhaustive()
    }
}

/// Asks for documents; further answers follow whenever something changes.
pub(super) async fn fetch(channel: Channel) -> Result<Streaming<Answer>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(Ask {});
    request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    let codec = ProstCodec::<Ask, Answer>::default();
    grpc.server_streaming(request, PathAndQuery::from_static(METHOD), codec).await.map(Response::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I11: nothing of a key shows in debug output.
    #[test]
    fn i11_a_document_shows_no_key() {
        let mut document = Document::default();
        document.id.push_str("spiffe://td/a");
        document.key.extend([187, 188]);
        let answer = Answer { documents: vec![document], ..Default::default() };
        let text = format!("{answer:?} {answer:#?}");
        assert!(text.contains("spiffe://td/a") && !text.contains("187") && !text.contains("key"), "{text}");
    }

    #[test]
    fn what_later_versions_add_is_read_over() {
        // A list of revoked certificates, and fields that nobody knows yet.
        let bytes = [0x12, 1, 0, 0x0a, 6, 0x0a, 1, b'a', 0x3a, 1, b'x', 0x78, 5];
        let answer = Answer::decode(&bytes[..]).expect("it is read");
        assert_eq!((answer.documents.len(), answer.documents[0].id.as_str()), (1, "a"));
    }
}
