//! Connections below HTTP: where a client may stall, attacks on sockets, addresses and limits.

mod addresses;
mod attacks;
mod overload;
mod proxy_protocol;
mod slow_attacks;
mod stages;
