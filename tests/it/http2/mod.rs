//! HTTP/2 frame by frame: conformance, what an edge must refuse, attacks and stalls.

mod attacks;
mod conformance;
mod edge;
mod stalls;
mod websocket;
