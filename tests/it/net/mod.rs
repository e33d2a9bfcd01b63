//! Connections below HTTP: where a client may stall, attacks on sockets, addresses and limits.

mod slow_attacks;
mod stages;
