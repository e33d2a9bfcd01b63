//! Tenants from everywhere they may come from, and what becomes of them.

mod ask_app;
mod http_source;
mod http_source_trouble;
mod long_list;
mod postgres;
mod resolution;
mod tool;
