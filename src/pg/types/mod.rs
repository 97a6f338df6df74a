//! SQL-callable functions of the types: a few lines each, over `value`.

pub mod array;
mod bits;
pub mod support;
mod text;
mod vector;
