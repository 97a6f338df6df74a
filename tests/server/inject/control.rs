//! The library that lets calls fail (`stubs.c`), and the file that steers it.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Server;

/// What is counted, and fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Calls of the server's functions.
    Calls = 1,
    /// Allocations of Rust.
    Allocations = 2,
}

/// Which of the counted calls fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which {
    /// The first one; 0: none.
    pub first: u64,
    /// The one so many later; 0: none.
    pub second: u64,
    /// All after the first.
    pub lasting: bool,
}

/// The directory of the library and of the file; the server's user can reach both.
pub struct Control {
    dir: PathBuf,
    file: File,
}

/// Offsets in the file (`Control` of `stubs.c`).
const COUNT: u64 = 32;
const FAILED: u64 = 40;
const LIVE: u64 = 48;
const NAME: u64 = 56;
const PATHS: u64 = 4096;
const MOST_PATHS: u64 = 1 << 20;

impl Control {
    /// Compiles the library. The error says why there is none.
    pub fn new(server: &Server) -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("the stubs are written for Linux on x86-64".into());
        }
        if Command::new("cc").arg("--version").output().is_err() {
            return Err("there is no C compiler".into());
        }
        let include = server.run("pg_config", &["--includedir-server"]).unwrap();
        let include = include.trim();
        if !Path::new(include).join("postgres.h").exists() {
            return Err(format!("there are no headers of the server in {include}"));
        }
        let dir = PathBuf::from(format!("/tmp/vs-inject-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/inject/stubs.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .args([&dir.join("stubs.so"), &source])
            .arg(format!("-I{include}"))
            .status();
        assert!(compiled.unwrap().success(), "stubs.c does not compile");
        let path = dir.join("control");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(PATHS + 4 * MOST_PATHS).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        Ok(Self { dir, file })
    }

    pub fn library(&self) -> String {
        self.dir.join("stubs.so").display().to_string()
    }

    /// From now on calls are counted, and some fail.
    pub fn arm(&self, what: What, which: Which, trace: bool) {
        let mut bytes = [0; COUNT as usize + 16];
        bytes[0..4].copy_from_slice(&(what as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&u32::from(which.lasting).to_ne_bytes());
        bytes[8..16].copy_from_slice(&which.first.to_ne_bytes());
        bytes[16..24].copy_from_slice(&which.second.to_ne_bytes());
        bytes[24..32].copy_from_slice(&u64::from(trace).to_ne_bytes());
        self.file.write_all_at(&bytes, 0).unwrap();
    }

    /// From now on nothing is counted.
    pub fn disarm(&self) {
        self.file.write_all_at(&[0; 4], 0).unwrap();
    }

    fn number(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Number of calls since it was armed.
    pub fn count(&self) -> u64 {
        self.number(COUNT)
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        self.number(FAILED)
    }

    /// Blocks of memory that the library holds, less those that it held when it was patched.
    pub fn live(&self) -> i64 {
        self.number(LIVE).cast_signed()
    }

    /// The function that failed last.
    pub fn name(&self) -> String {
        let mut bytes = [0; 64];
        self.file.read_exact_at(&mut bytes, NAME).unwrap();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// For each of the calls a number of the way from which it was made.
    pub fn paths(&self) -> Vec<u32> {
        let mut bytes = vec![0; 4 * self.count().min(MOST_PATHS) as usize];
        self.file.read_exact_at(&mut bytes, PATHS).unwrap();
        bytes.chunks_exact(4).map(|path| u32::from_ne_bytes([path[0], path[1], path[2], path[3]])).collect()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
