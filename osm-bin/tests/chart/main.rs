//! The chart of the mesh: what `osm` makes of it, and that helm makes the same.

mod goldens;
mod helm;
