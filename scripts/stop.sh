#!/usr/bin/env bash
# Stops every server that this checkout started.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ -d "$BUILD" ] || exit 0
find "$BUILD" -name server.env -printf '%h\n' | while read -r server; do
    "$ROOT/scripts/server.sh" stop "$server" && say "stopped $server"
done
