//! Datums: the values of SQL types in memory, as pgvector and core lay them out.

pub mod alloc;
pub mod bit;
pub mod bytea;
pub mod dense;
pub mod indexed;
pub mod short_header;
pub mod sparse;
pub mod tokens;
pub mod value;
