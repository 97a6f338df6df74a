#![doc = include_str!("README.md")]

pub mod build;
pub mod calibrate;
pub mod check;
pub mod code;
mod copies;
pub mod cost;
pub mod directory;
pub mod info;
pub mod insert;
pub mod search;
pub mod vacuum;
mod walk;
