//! The issuer on a real OpenBao server: that it conforms by every way in, and what it does when
//! the server, the way there or its settings are at fault.

mod answers;
mod faults;
#[path = "../support/log.rs"]
mod log;
mod logins;
mod mesh;
#[path = "../support/openbao.rs"]
mod openbao;
mod relay;
mod roles;
mod secrets;
#[path = "../support/serving.rs"]
mod serving;
mod sessions;
#[path = "../../../osm-k8s/tests/support/within.rs"]
mod within;
