//! What a control plane does besides when it runs in a Kubernetes cluster: one file
//! for each thing.

pub mod source;
