#![doc = include_str!("README.md")]

pub mod bound;
pub mod build;
pub mod calibrate;
pub mod check;
pub mod code;
pub mod cost;
pub mod directory;
pub mod info;
pub mod insert;
pub mod refresh;
pub mod sample;
pub mod search;
pub mod vacuum;
mod walk;
pub mod within;
