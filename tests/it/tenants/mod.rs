//! Where tenants come from, and what becomes of a host.

mod ask_app;
mod http_source;
mod http_source_trouble;
mod long_list;
mod resolution;
mod tool;
