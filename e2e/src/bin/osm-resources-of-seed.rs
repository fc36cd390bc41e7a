//! Prints the resources of all proxies of some random meshes, byte for byte.
//!
//! The argument is a seed for the order in which the facts arrive; it must not
//! make a difference. A test runs this in several processes.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;

use anyhow::{Context, Result};
use osm_core::model::MeshObject;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;
use osm_core::testing::proxies;
use osm_e2e::meshes;
use osm_xds::generate;

const MESHES: usize = 40;

fn main() -> Result<()> {
    let seed: u64 = std::env::args().nth(1).context("the argument is a seed")?.parse().context("a seed")?;
    let mut out = String::new();
    for (number, mut objects) in meshes::random(MESHES).into_iter().enumerate() {
        shuffle(&mut objects, seed.wrapping_add(number as u64));
        let mut builder = SnapshotBuilder::new(MeshOptions::default());
        builder.apply(SourceEvent::Reset);
        for (index, object) in objects.into_iter().enumerate() {
            builder.apply(SourceEvent::apply(object));
            if seed % 2 == 1 && index == 10 {
                // In every second process the mesh grows while it runs.
                builder.apply(SourceEvent::Ready);
            }
            builder.build();
        }
        builder.apply(SourceEvent::Ready);
        builder.build();
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(builder.current(), &proxy) else { continue };
            for resource in generate::proxy(&compiled.ir) {
                let _ = write!(out, "{number} {proxy} {} {} ", resource.key, resource.version);
                resource.body.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
                out.push('\n');
            }
        }
    }
    // What differs from process to process, to show that these are different ones.
    eprintln!("{:x}", RandomState::new().hash_one(seed));
    print!("{out}");
    Ok(())
}

/// Puts the facts in an order that follows from the seed.
fn shuffle(objects: &mut [MeshObject], seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for index in (1..objects.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        objects.swap(index, (state >> 33) as usize % (index + 1));
    }
}
