#!/usr/bin/env bash
# Clicks through the page (examples/page) with Debian's Chromium, at desktop and phone width, and checks what
# it shows against SQL; bad input; the language model by a stub. Screenshots go to target/test/browser/shots.
# Without Chromium, and where it cannot be installed, it says so and passes.
#
# usage: scripts/test_browser.sh PG_CONFIG [TEST...]     TEST: as python -m unittest has them, test_views.Ask
# BROWSER=full: with all texts of the demo, and the screenshots go to docs/images
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

[ $# -ge 1 ] || die "usage: scripts/test_browser.sh PG_CONFIG [TEST...]"
case ${BROWSER:-small} in
    small) texts=(--small) shots="$BUILD/test/browser/shots" ;;
    full) texts=() shots="$ROOT/docs/images" ;;
    *) die "BROWSER=$BROWSER: it is small or full" ;;
esac

find_chromium() { CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}; }

find_chromium
if [ -z "$CHROMIUM" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say "installing chromium"
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium)
    "${install[@]}" >&2 || { apt-get update -qq >&2 && "${install[@]}" >&2; } || true
    find_chromium
fi
if [ -z "$CHROMIUM" ]; then
    say "SKIPPED: the browser tests: there is no Chromium (as root: apt-get install chromium; or set CHROMIUM=its path)"
    exit 0
fi
python_packages
packages_of examples/page
packages_of tests/browser

fresh_server "$BUILD/test/browser" "$1" "fsync = off"
export PYTHONPATH="$ROOT/examples:$ROOT/tests/browser" CHROMIUM SHOTS="$shots"
say "the page's texts"
"$VENV/bin/python" -m page.load ${texts[@]+"${texts[@]}"}
say "the page in $("$CHROMIUM" --version 2>/dev/null)"
if [ $# -gt 1 ]; then
    "$VENV/bin/python" -m unittest -v "${@:2}"
else
    "$VENV/bin/python" -m unittest discover -v -s tests/browser
fi
