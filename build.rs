//! Lets the library make two calls of the server's functions for errors itself (`src/pg/error_memory.rs`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let for_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|of| of == "linux");
    // Linkers of other systems may not know these options.
    if for_linux && std::env::var_os("CARGO_FEATURE_POSTGRES").is_some() {
        for function in ["CopyErrorData", "errstart"] {
            println!("cargo::rustc-cdylib-link-arg=-Wl,--wrap={function}");
        }
        // Another library in the same backend may have functions of these names.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
    }
}
