# shellcheck shell=bash disable=SC2034
# Sourced by package.sh, deb.sh and rpm.sh, after lib.sh: the files of an installation, built once for each
# major.

VERSION=$(sed -nE 's/^version = "(.*)"/\1/p' "$ROOT/Cargo.toml" | head -1)
PACKAGES="$BUILD/package"
SUMMARY="vector similarity search for PostgreSQL, with a self-tuning index"

# supported_configs: pg_config of each supported PostgreSQL of this machine that has headers, and of the
# embedded 18 unless there is another 18.
supported_configs() {
    local config newest=
    for config in /usr/lib/postgresql/*/bin/pg_config /usr/pgsql-*/bin/pg_config; do
        [ -x "$config" ] && [ -f "$("$config" --includedir-server)/postgres.h" ] || continue
        case $("$config" --version) in
            'PostgreSQL 18'*) newest=1 && echo "$config" ;;
            'PostgreSQL 1'[567]*) echo "$config" ;;
        esac
    done
    [ -n "$newest" ] || "$ROOT/scripts/embedded.sh"
}

# stage PG_CONFIG: builds for this PostgreSQL; sets MAJOR, and STAGE to a folder with lib, extension and sbom.
stage() {
    use_postgres "$1"
    local out="$PACKAGES/build-$MAJOR"
    rm -rf "$out"
    (cd "$ROOT" && pgrx package --no-default-features --features "pg$MAJOR" --pg-config "$1" \
        --out-dir "$out") >&2
    STAGE="$PACKAGES/stage-$MAJOR"
    rm -rf "$STAGE"
    mkdir -p "$STAGE"
    mv "$out$("$1" --pkglibdir)" "$STAGE/lib"
    mv "$out$("$1" --sharedir)/extension" "$STAGE/extension"
    rm -r "$out"
    python3 "$ROOT/scripts/sbom.py" "pg$MAJOR" >"$STAGE/sbom.cdx.json"
}

# place ROOT LIBDIR SHAREDIR DOCDIR: puts the staged files of vector_search there.
place() {
    install -d "$1$2" "$1$3/extension" "$1$4"
    install -m 644 "$STAGE"/lib/vector_search.so "$1$2/"
    # Names of files and lines in panics are no debugging information and stay.
    strip --strip-debug "$1$2/vector_search.so"
    install -m 644 "$STAGE"/extension/vector_search* "$1$3/extension/"
    (cd "$ROOT" && install -m 644 LICENSE README.md CHANGELOG.md ARCHITECTURE.md "$1$4/")
    # Pictures and tables of measurements are left to the repository.
    (cd "$ROOT" && find docs -name '*.md' -not -path 'docs/benchmarks/*/*' -print0 \
        | xargs -0 cp --parents -t "$1$4/")
    install -m 644 "$STAGE/sbom.cdx.json" "$1$4/"
    find "$1$4" -type f -exec chmod 644 {} +
}

# place_compat ROOT SHAREDIR DOCDIR: the extension "vector" (SQL only; the library is vector_search's).
place_compat() {
    install -d "$1$2/extension" "$1$3"
    install -m 644 "$ROOT"/sql/compat/vector.control "$ROOT"/sql/compat/vector--*.sql "$1$2/extension/"
    install -m 644 "$ROOT/LICENSE" "$ROOT/docs/pgvector.md" "$1$3/"
}

# checksums: SHA256SUMS of all archives and packages, signed if SIGN_WITH names a key of gpg.
checksums() {
    (cd "$PACKAGES" && find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' -printf '%f\n' | LC_ALL=C sort \
        | xargs -r sha256sum >SHA256SUMS)
    rm -f "$PACKAGES/SHA256SUMS.asc"
    if [ -n "${SIGN_WITH:-}" ]; then
        gpg --batch --yes --local-user "$SIGN_WITH" --armor --detach-sign "$PACKAGES/SHA256SUMS"
    fi
    say "$PACKAGES/SHA256SUMS lists the packages${SIGN_WITH:+, signed by $SIGN_WITH}"
}
