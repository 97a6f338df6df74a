//! SQL-callable functions of the types: a few lines each, over `value`.

pub mod array;
mod bits;
mod text;
mod vector;
