//! Settings of a session and options of an index, also pgvector's, and which of them hold for a scan.

pub mod guc;
pub mod pgvector;
mod pgvector_commands;
pub mod pgvector_placeholders;
pub mod reloptions;
pub mod resolve;

/// Set-up at library load.
pub fn init() {
    guc::define();
    reloptions::define();
    pgvector_commands::install_hooks();
}
