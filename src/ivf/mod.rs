#![doc = include_str!("README.md")]

pub mod assumed;
pub mod build;
pub mod calibrate;
pub mod check;
pub mod code;
pub mod cost;
pub mod deviation;
pub mod directions;
pub mod directory;
mod elements;
pub mod info;
pub mod insert;
mod list_chain;
pub mod plain;
pub mod progress;
pub mod renew;
pub mod scan;
pub mod search;
pub mod sketch;
pub mod sketch_sample;
pub mod spread;
pub mod threshold;
pub mod top_k;
pub mod vacuum;
pub mod within;
