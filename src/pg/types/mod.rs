//! SQL-callable functions of the types: a few lines each, over `value`.

mod analyze;
pub mod array;
mod bit;
pub mod call;
mod casts;
mod dense;
mod halfvec;
mod hash;
mod maxsim;
mod sparsevec;
mod text;
mod vector;
