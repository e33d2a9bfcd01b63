//! Assembly of the running process. So far: what it tells the service manager.

pub mod systemd;
