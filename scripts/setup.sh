#!/usr/bin/env bash
# Makes a fresh Debian or Ubuntu machine (with Rust, a C compiler and Python 3) ready to build, test and run
# the demo. Installs system packages as root, names them otherwise. Everything else goes under target/. It may
# be called again: it does nothing if nothing is missing.
#
# usage: scripts/setup.sh [pg15]     pg15: also Debian's PostgreSQL 15 and its headers
set -euo pipefail
. "$(dirname "$0")/lib.sh"

missing=()
need() { missing+=("$@"); }

# bindgen needs libclang and clang's own headers (stddef.h).
has_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null \
        && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null
}

has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

find_missing() {
    missing=()
    command -v cc >/dev/null || need gcc libc6-dev
    command -v make >/dev/null || need make
    command -v python3 >/dev/null || need python3
    has_venv || need python3-venv python3-pip
    has_libclang || need libclang-dev
    # Postgres refuses to run as root; root's tests change user with sudo.
    [ "$(id -u)" -ne 0 ] || command -v sudo >/dev/null || need sudo
    if [ "${1:-}" = pg15 ]; then
        [ -x /usr/lib/postgresql/15/bin/postgres ] || need postgresql-15
        [ -f /usr/include/postgresql/15/server/postgres.h ] || need postgresql-server-dev-15
    fi
}

# Debian starts a cluster on every new PostgreSQL; ours are made by scripts/server.sh.
forbid_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    [ -e "$conf" ] && return 0
    mkdir -p "$(dirname "$conf")"
    echo 'create_main_cluster = false' >"$conf"
}

install_packages() {
    command -v apt-get >/dev/null || die "apt-get is not here; install the like of: ${missing[*]}"
    say "installing ${missing[*]}"
    case " ${missing[*]} " in *' postgresql-15 '*) forbid_main_cluster ;; esac
    # Existing configuration files, also the one made above, are kept without asking.
    local install=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get install
        -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}")
    # Stale or absent package lists are the usual reason for a failure, so they are fetched then.
    "${install[@]}" >&2 || { apt-get update -qq >&2 && "${install[@]}" >&2; } \
        || die "apt-get could not install ${missing[*]} (PostgreSQL 15 is in Debian 12 only;" \
            "elsewhere, PG_CONFIG names your own)"
}

command -v cargo >/dev/null || die "Rust is missing; install it from https://rustup.rs"

find_missing "$@"
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        say "these system packages are missing; as root, run:"
        echo "  apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    install_packages
    find_missing "$@"
    [ ${#missing[@]} -eq 0 ] || die "still missing after installing: ${missing[*]}"
fi

mkdir -p "$BUILD"

# For the PostgreSQL that will be used: the embedded 18, unless PG_CONFIG says another.
MAJOR=18
if [ -n "${PG_CONFIG:-}" ]; then
    command -v "$PG_CONFIG" >/dev/null || die "$PG_CONFIG is not an executable pg_config"
    MAJOR=$(major_of "$PG_CONFIG")
fi
version=$(pgrx_version "$MAJOR")
if [ "$(pgrx --version 2>/dev/null | awk '{print $NF}')" != "$version" ]; then
    say "building cargo-pgrx $version (once, a few minutes)"
    tools=$(pgrx_tools "$MAJOR")
    # Without its default features it needs no OpenSSL headers; it works as fast unoptimised, and builds
    # faster.
    CARGO_TARGET_DIR="$tools/build" cargo install cargo-pgrx --version "=$version" \
        --locked --debug --no-default-features --root "$tools"
    rm -rf "$tools/build"
fi

# If the venv's python is gone (the checkout was moved, the system upgraded), the venv is made again.
if ! [ -x "$VENV/bin/pip" ] || ! "$VENV/bin/python" -c "" 2>/dev/null; then
    say "making the Python environment $VENV"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
fi
