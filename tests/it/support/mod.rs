//! Fixtures: real servers, clients and certificates, made for one test and gone after it.
//!
//! Processes and the in-process origin start with a blocking call that returns when they answer;
//! clients are async. Every fixture picks its own free port on 127.0.0.1, waits with a deadline, ends its
//! children by process id on drop, and prints their logs when the test fails.
#![allow(
    dead_code,
    reason = "a kit for all modules: some tools wait for their first user"
)]

pub(crate) mod apache;
pub(crate) mod attack;
pub(crate) mod bind;
pub(crate) mod body;
pub(crate) mod child;
pub(crate) mod curl;
pub(crate) mod django;
pub(crate) mod dns;
pub(crate) mod dns_front;
pub(crate) mod fault_proxy;
pub(crate) mod framer;
pub(crate) mod gunicorn;
pub(crate) mod http;
pub(crate) mod key_file;
pub(crate) mod knot;
pub(crate) mod load;
pub(crate) mod origin;
pub(crate) mod pebble;
pub(crate) mod pgbouncer;
pub(crate) mod pki;
pub(crate) mod port;
pub(crate) mod portico;
pub(crate) mod postgres;
pub(crate) mod prepared;
pub(crate) mod probe;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod raw_origin;
pub(crate) mod site;
pub(crate) mod tls;
pub(crate) mod unbound;
pub(crate) mod uvicorn;
pub(crate) mod wait;
pub(crate) mod web_service;
pub(crate) mod websocket;
