//! Assembly of the running process. So far: what it tells the service manager and the operator.

pub mod admin;
pub mod systemd;
