//! `cargo xtask images`: the images of the mesh and of its tests as archives, from the
//! programs that cargo has built here, without a network and without a builder of images.
//!
//! They are for tests: what they link against is copied from this machine. Images to be
//! published are built from the Dockerfiles in `images/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub mod archive;
mod catalogue;
mod root;

use archive::Image;
use catalogue::Recipe;

use crate::artifacts::{self, Programs};
use crate::workspace::{SELECTION, step};
use crate::{envoy, packages};

/// Builds the workspace's programs, then every image of them, and returns both.
///
/// # Errors
/// When something that goes into an image is missing and can't be brought.
pub fn make(root: &Path) -> Result<(Programs, Vec<Image>)> {
    packages::ensure(packages::COMPILER)?;
    packages::ensure(packages::LOCAL_MESH)?;
    let envoy = envoy::ensure()?;
    // The selection of `check`, which has then built them already.
    let programs = step("building the programs for images", || {
        artifacts::build(root, &[&SELECTION[..], &["--bins"]].concat())
    })?;
    let images: Result<Vec<Image>> = step("packing images", || {
        let folder = folder(&programs)?;
        catalogue::ALL.iter().map(|recipe| pack(recipe, &programs, &envoy, &folder)).collect()
    });
    Ok((programs, images?))
}

/// Beside the folder that cargo builds into.
fn folder(programs: &Programs) -> Result<PathBuf> {
    let built = programs.values().next().and_then(|program| program.parent()?.parent());
    let folder = built.context("cargo built no program")?.join("images");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn pack(recipe: &Recipe, programs: &Programs, envoy: &Path, folder: &Path) -> Result<Image> {
    let root = root::Root::make(folder.join(format!("{}-{}", recipe.file(), std::process::id())))?;
    for part in recipe.parts {
        root.add(part, programs, envoy)
            .with_context(|| format!("making the image {}", recipe.content.name))?;
    }
    let image = archive::pack(&recipe.content, root.path(), folder)?;
    eprintln!("{}  sha256:{}", recipe.content.name, image.id);
    Ok(image)
}
