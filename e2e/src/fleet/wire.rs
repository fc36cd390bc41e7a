//! Discovery messages as a simulated proxy reads and writes them: responses
//! only as far as it looks at them, where they lie, so that of a body nothing is
//! copied.

use std::marker::PhantomData;

use anyhow::{Context, Result, anyhow};
use bytes::{Buf, Bytes};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use osm_xds::resource::ResourceKind;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use super::plan::DialectKind;
use super::proxy::Outgoing;

/// The path of a stream of a dialect.
pub(super) fn path(dialect: DialectKind) -> &'static str {
    match dialect {
        DialectKind::Delta => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        }
        DialectKind::Sotw => {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        }
    }
}

/// Writes requests, and hands on responses as they are.
pub(super) struct RawCodec<Request>(PhantomData<fn() -> Request>);

impl<Request> RawCodec<Request> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Request: Message + 'static> Codec for RawCodec<Request> {
    type Encode = Request;
    type Decode = Bytes;
    type Encoder = ProstEncoder<Request>;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> ProstEncoder<Request> {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder
    }
}

/// Takes messages as they are.
pub(super) struct RawDecoder;

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

/// A response of either dialect, whose fields have the same numbers.
#[derive(Debug, Default)]
pub(super) struct Response<'a> {
    /// State of the world only.
    pub(super) version: &'a str,
    /// Each of them encoded: an [`Envelope`], or in the state of the world an [`Any`].
    pub(super) resources: Vec<&'a [u8]>,
    pub(super) type_url: &'a str,
    pub(super) nonce: &'a str,
    pub(super) removed: Vec<&'a str>,
}

impl<'a> Response<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self> {
        let mut response = Self::default();
        fields(message, |field, bytes| {
            match field {
                1 => response.version = text(bytes)?,
                2 => response.resources.push(bytes),
                4 => response.type_url = text(bytes)?,
                5 => response.nonce = text(bytes)?,
                6 => response.removed.push(text(bytes)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }

    /// The kind of its resources.
    pub(super) fn kind(&self) -> Result<ResourceKind> {
        ResourceKind::from_type_url(self.type_url)
            .ok_or_else(|| anyhow!("a response of type {:?}", self.type_url))
    }
}

/// A resource in a response of the incremental dialect.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) version: &'a str,
    pub(super) body: &'a [u8],
    pub(super) name: &'a str,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self> {
        let mut envelope = Self::default();
        fields(message, |field, bytes| {
            match field {
                1 => envelope.version = text(bytes)?,
                2 => envelope.body = any_value(bytes)?,
                3 => envelope.name = text(bytes)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(envelope)
    }
}

/// The value in an `Any` whose type is known from the response.
pub(super) fn any_value(message: &[u8]) -> Result<&[u8]> {
    let mut value = &[][..];
    fields(message, |field, bytes| {
        if field == 2 {
            value = bytes;
        }
        Ok(())
    })?;
    Ok(value)
}

/// What messages of all kinds of resource have first: their name.
pub(super) fn name(mut body: &[u8]) -> Result<&str> {
    match field(&mut body)? {
        Some((1, name)) => text(name),
        _ => Err(anyhow!("a resource without a name")),
    }
}

/// Looks at all fields that have a length, in their order.
fn fields<'a>(mut message: &'a [u8], mut look: impl FnMut(u32, &'a [u8]) -> Result<()>) -> Result<()> {
    while let Some((number, bytes)) = field(&mut message)? {
        look(number, bytes)?;
    }
    Ok(())
}

/// The next field that has a length.
fn field<'a>(message: &mut &'a [u8]) -> Result<Option<(u32, &'a [u8])>> {
    while !message.is_empty() {
        let (number, wire_type) = decode_key(message).context("a field")?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, message, DecodeContext::default()).context("a field")?;
            continue;
        }
        let length = usize::try_from(decode_varint(message).context("a length")?).unwrap_or(usize::MAX);
        let (bytes, rest) = message.split_at_checked(length).context("a field ends too early")?;
        *message = rest;
        return Ok(Some((number, bytes)));
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).context("a text")
}

/// A request of the incremental dialect.
pub(super) fn delta_request(outgoing: Outgoing, node: Option<Node>) -> DeltaDiscoveryRequest {
    let Outgoing { kind, nonce, version: _, names, dropped, held } = outgoing;
    DeltaDiscoveryRequest {
        node,
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
        resource_names_unsubscribe: dropped.iter().map(|name| name.to_string()).collect(),
        initial_resource_versions: held
            .iter()
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect(),
        response_nonce: nonce,
        ..Default::default()
    }
}

/// A request for the state of the world.
pub(super) fn sotw_request(outgoing: Outgoing, node: Option<Node>) -> DiscoveryRequest {
    let Outgoing { kind, nonce, version, names, dropped: _, held: _ } = outgoing;
    DiscoveryRequest {
        node,
        type_url: kind.type_url().to_owned(),
        version_info: version,
        resource_names: names.iter().map(|name| name.to_string()).collect(),
        response_nonce: nonce,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{
        DeltaDiscoveryResponse, DiscoveryResponse, Resource,
    };
    use envoy_types::pb::google::protobuf::Any;

    use super::*;

    #[test]
    fn responses_are_read_where_they_lie() {
        let any = Any { type_url: "type".to_owned(), value: b"\x0a\x04name".to_vec() };
        let resource = Resource {
            name: "name".to_owned(),
            version: "v".to_owned(),
            resource: Some(any.clone()),
            ..Resource::default()
        };
        let type_url = ResourceKind::Route.type_url().to_owned();
        let delta = DeltaDiscoveryResponse {
            resources: vec![resource],
            type_url: type_url.clone(),
            nonce: "7".to_owned(),
            removed_resources: vec!["gone".to_owned()],
            ..DeltaDiscoveryResponse::default()
        };
        let bytes = delta.encode_to_vec();
        let read = Response::read(&bytes).expect("a response");
        assert_eq!(read.kind().expect("a kind"), ResourceKind::Route);
        assert_eq!((read.nonce, &read.removed[..]), ("7", &["gone"][..]));
        let Envelope { version, body, name: named } = Envelope::read(read.resources[0]).expect("a resource");
        assert_eq!((version, named, name(body).expect("a name")), ("v", "name", "name"));

        let sotw = DiscoveryResponse { resources: vec![any], type_url, ..DiscoveryResponse::default() };
        let bytes = sotw.encode_to_vec();
        let read = Response::read(&bytes).expect("a response");
        assert_eq!(any_value(read.resources[0]).expect("a body"), b"\x0a\x04name");
        assert!(Response::read(&bytes[..bytes.len() - 1]).is_err());
    }
}
