//! Manifests of people who mean harm, or of programs that have gone wrong: each is
//! named, the others work, and it costs little.

mod fields;
mod files;
mod mesh;
mod size;
mod tenants;
