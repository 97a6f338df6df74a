//! Room 3: the index algorithms over a page store.

pub mod build;
mod calibrate;
pub mod check;
pub mod code;
pub mod cost;
pub mod directory;
pub mod info;
pub mod insert;
pub mod search;
pub mod vacuum;
mod walk;
