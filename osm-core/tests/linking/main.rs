//! Meshes by hand, and what linking and policy make of them: the corners that
//! random meshes reach seldom.

mod member_names;
mod members;
mod mesh;
mod roots;
mod services;
mod splits;
mod targets;
