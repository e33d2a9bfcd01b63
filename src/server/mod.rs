//! Assembly: workers, control plane, reload, drain, admin and systemd.

pub mod certs;
pub mod connection;
pub mod worker;
