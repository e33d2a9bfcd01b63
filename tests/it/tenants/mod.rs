//! Where tenants come from, and what becomes of a host.

mod ask_app;
mod http_source;
mod long_list;
mod resolution;
