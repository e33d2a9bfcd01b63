//! End-to-end tests: one binary, a module per feature.

mod systemd;
