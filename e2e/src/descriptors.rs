//! Resources as JSON, by the descriptors of the messages that they are made of.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use osm_xds::resource::Resource;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MapKey, ReflectMessage, SerializeOptions, Value as Dynamic,
};
use serde_json::Value;

static POOL: OnceLock<DescriptorPool> = OnceLock::new();

/// The descriptors of all messages of Envoy's configuration. They lie in the
/// source of the crate that has the messages, where cargo knows to find it.
///
/// # Errors
/// When cargo can't be run, or the crate has no descriptors any more.
pub fn pool() -> Result<&'static DescriptorPool> {
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let path = descriptor_file()?;
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let pool = DescriptorPool::decode(&bytes[..]).context("decoding the descriptors of envoy-types")?;
    Ok(POOL.get_or_init(|| pool))
}

fn descriptor_file() -> Result<PathBuf> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    // Packages of other platforms may never have been downloaded, and are not wanted.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &platform,
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .context("running cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages =
        metadata["packages"].as_array().ok_or_else(|| anyhow!("cargo metadata names no packages"))?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or_else(|| anyhow!("envoy-types is not among the packages"))?;
    let folder = PathBuf::from(manifest);
    let folder = folder.parent().ok_or_else(|| anyhow!("a manifest without a folder"))?;
    Ok(folder.join("src/generated/types.bin"))
}

/// A resource as JSON, with maps in the order of their keys.
///
/// # Errors
/// When the bytes are not a message of the resource's kind.
pub fn to_json(resource: &Resource) -> Result<Value> {
    let message = decode(resource)?;
    let value = message.serialize_with_options(
        serde_json::value::Serializer,
        &SerializeOptions::new().skip_default_fields(true),
    );
    value.with_context(|| format!("{} as JSON", resource.key))
}

/// The map fields with more than one entry that a resource has, in it and in
/// the messages inside, as `message.field`.
///
/// # Errors
/// When it can't be decoded.
pub fn filled_maps(resource: &Resource) -> Result<Vec<String>> {
    let mut maps = Vec::new();
    walk(&decode(resource)?, &mut maps)?;
    maps.sort();
    maps.dedup();
    Ok(maps)
}

fn decode(resource: &Resource) -> Result<DynamicMessage> {
    decode_named(resource.key.kind.type_url(), &resource.body).with_context(|| resource.key.to_string())
}

fn decode_named(type_url: &str, bytes: &[u8]) -> Result<DynamicMessage> {
    let name = type_url.rsplit('/').next().unwrap_or(type_url);
    let descriptor = pool()?.get_message_by_name(name).ok_or_else(|| anyhow!("no descriptor of {name}"))?;
    DynamicMessage::decode(descriptor, bytes).with_context(|| format!("decoding {name}"))
}

fn walk(message: &DynamicMessage, maps: &mut Vec<String>) -> Result<()> {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        let url = message.get_field_by_name("type_url");
        let value = message.get_field_by_name("value");
        if let (Some(url), Some(value)) = (url, value)
            && let (Some(url), Some(bytes)) = (url.as_str(), value.as_bytes())
        {
            walk(&decode_named(url, bytes)?, maps)?;
        }
        return Ok(());
    }
    for (field, value) in message.fields() {
        if field.is_map() {
            let entries = value.as_map();
            if entries.is_some_and(|entries| !entries.is_empty()) {
                maps.push(field.full_name().to_owned());
            }
        }
        walk_value(value, maps)?;
    }
    Ok(())
}

fn walk_value(value: &Dynamic, maps: &mut Vec<String>) -> Result<()> {
    match value {
        Dynamic::Message(message) => walk(message, maps),
        Dynamic::List(values) => values.iter().try_for_each(|value| walk_value(value, maps)),
        Dynamic::Map(entries) => {
            let mut keys: Vec<&MapKey> = entries.keys().collect();
            keys.sort_by_key(|key| format!("{key:?}"));
            keys.into_iter()
                .try_for_each(|key| entries.get(key).map_or(Ok(()), |value| walk_value(value, maps)))
        }
        _ => Ok(()),
    }
}
