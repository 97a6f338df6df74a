# Sourced by the other scripts: where things are, and how they speak.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD="$ROOT/target"
VENV="$BUILD/venv"
PGRX_VERSION=0.18.1

say() { printf '%s\n' "== $*" >&2; }
die() { printf '%s\n' "error: $*" >&2; exit 1; }

# Rustup's place, which a non-login shell may not have in its path.
command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# cargo-pgrx: the checkout's own if setup.sh had to build one, else the machine's.
# The own one is called by path, because cargo may prefer ~/.cargo/bin to PATH.
pgrx() {
    if [ -x "$BUILD/tools/bin/cargo-pgrx" ]; then
        "$BUILD/tools/bin/cargo-pgrx" pgrx "$@"
    else
        cargo pgrx "$@"
    fi
}
