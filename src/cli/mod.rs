//! One file per verb. To come, but for parts of the demo.

pub mod demo;
