//! Meshes by hand, and what linking and policy make of them: the corners that
//! random meshes reach seldom.

mod mesh;
mod services;
mod splits;
mod targets;
