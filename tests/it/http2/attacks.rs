//! Attacks on HTTP/2 (the rows D of the design), each beside a well-behaved client.
//!
//! Of each attack it is shown that memory grows by less than 64 MiB, that a second client is answered with a 99th
//! percentile under 250 ms all the while, that the attacker is sent away or held to its limit, and that an attacker's
//! connection costs no more than ten times the processor time of an honest one.

mod bombs;
mod floods;
mod strike;
mod victim;
