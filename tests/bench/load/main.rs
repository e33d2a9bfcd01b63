//! Load generator for `tests/bench/run`.
fn main() {}
