#!/usr/bin/env bash
# A smoke test of pgvector's Node package with pg; see scripts/test_clients.sh.
# usage: node.sh DIRECTORY
set -euo pipefail

home="$1/node"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$home"
cp "$here/node.mjs" "$here/package.json" "$home/"
cd "$home"
[ -d node_modules ] || npm install --silent --no-audit --no-fund
node node.mjs
