//! Tenants from everywhere they may come from, and what becomes of them.

mod ask_app;
mod cookies;
mod health;
mod http_source;
mod http_source_trouble;
mod long_list;
mod postgres;
mod privacy;
mod resolution;
mod signature;
mod states;
mod strip;
mod token;
mod tool;
