//! Settings of a session, options of an index, and what both come to; pgvector's among them.

mod guc;
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
