//! The one request path and its protocol adapters. To come, but for the pages that the edge answers with itself.

pub mod html;
pub mod page;
