#!/usr/bin/env bash
# Runs the steps of packaging/Dockerfile without Docker: each stage is a Debian in a folder of
# target/docker-test, and the images that it begins with are stood in for by Debian's packages and this
# machine's Rust. Then a server of the last stage runs the script that the image runs when it makes a
# database. Needs root, for chroot.
#
# usage: scripts/test_docker.sh [PG_MAJOR]      BUILT=1: without the stages that build, with the packages
#                                               that `make deb` has made
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/staging.sh"
. "$ROOT/scripts/chroot.sh"
cd "$ROOT"

major=${1:-18}
stages="$BUILD/docker-test"
image_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# base_image IMAGE DIR
base_image() {
    case $1 in
        rust:*)
            local toolchain
            toolchain=$(rustc --print sysroot)
            mkdir -p "$2/usr/local/rustup/toolchains" "$2/usr/local/cargo/bin"
            # Links to the same files, not copies, where it can be.
            cp -al "$toolchain" "$2/usr/local/rustup/toolchains/machine" 2>/dev/null \
                || cp -a "$toolchain" "$2/usr/local/rustup/toolchains/machine"
            ln -s ../../rustup/toolchains/machine/bin/{cargo,rustc,rustdoc} "$2/usr/local/cargo/bin/"
            ;;
        postgres:*)
            debian_for "$2" "$major"
            debian_install "$2" "postgresql-$major"
            ;;
        *) die "$1 is not known here" ;;
    esac
}

# copy DIR WORDS...: a COPY with one or more sources; paths without --from are the checkout's.
copy() {
    local dir=$1 from="$stages/context" target
    shift
    if [[ $1 = --from=* ]]; then
        from="$stages/${1#--from=}"
        shift
    fi
    target="$dir$(in_workdir "${!#}")"
    [ $# -eq 2 ] && [[ $1 != *[*.] ]] && [ -d "$from/$1" ] && mkdir -p "$(dirname "$target")" \
        && cp -al "$from/$1" "$target" && return
    [[ ${!#} = */ || ${!#} = . ]] && mkdir -p "$target" || mkdir -p "$(dirname "$target")"
    while [ $# -gt 1 ]; do
        # shellcheck disable=SC2086  # a pattern
        (cd "$from" && cp -a ./$1 "$target")
        shift
    done
}

in_workdir() { [[ $1 = /* ]] && echo "$1" || echo "${workdir%/}/$1"; }

# Every step of the file, of which each is one line.
run_dockerfile() {
    local dir='' workdir=/ word rest stage=0 skipped='' variables=()
    while read -r word rest; do
        case $word in
            '' | '#'*) continue ;;
            FROM) ;;
            *) [ -z "$skipped" ] || continue ;;
        esac
        case $word in
            COPY | RUN | ENV | FROM | WORKDIR) say "$word $rest" ;;
        esac
        case $word in
            FROM)
                read -ra words <<<"$rest"
                dir="$stages/${words[2]:-last}"
                workdir=/
                variables=()
                stage=$((stage + 1))
                skipped=
                if [ -n "${BUILT:-}" ] && [ "$dir" != "$stages/last" ]; then
                    say "skipped: the steps of ${words[2]}"
                    skipped=1
                    continue
                fi
                base_image "${words[0]}" "$dir"
                ;;
            ARG) [ "$stage" -eq 0 ] || variables+=("PG_MAJOR=$major") ;;
            ENV)
                for word in $rest; do
                    variables+=("${word//\$PATH/$image_path}")
                done
                ;;
            WORKDIR) workdir=$rest && mkdir -p "$dir$rest" ;;
            COPY) read -ra words <<<"$rest" && copy "$dir" "${words[@]}" ;;
            RUN) in_debian "$dir" "${variables[@]}" "${machine[@]}" sh -c "cd $workdir && $rest" \
                >"$stages/log" 2>&1 </dev/null || { tail -20 "$stages/log" >&2; die "failed: RUN $rest"; } ;;
            *) die "$word is not known here" ;;
        esac
    done < <(sed "s/\${PG_MAJOR}/$major/g" packaging/Dockerfile)
}

need_tools debootstrap:debootstrap
# The profile of this machine's builds, and what it needs to reach its registries.
mapfile -t machine < <(env \
    | grep -E '^(CARGO_(PROFILE|BUILD|REGISTR|HTTP)_?[A-Z_]*|https?_proxy|SSL_CERT_FILE)=' || true)
rm -rf "$stages"
mkdir -p "$stages"
copy_source "$stages/context"
if [ -n "${BUILT:-}" ]; then
    mkdir -p "$stages/build/source/target/package"
    cp "$PACKAGES/postgresql-$major-"*.deb "$stages/build/source/target/package/"
fi
run_dockerfile
say "the server of the last stage runs the script of its first start"
start_server "$stages/last" "/usr/lib/postgresql/$major/bin"
sql "$stages/last" postgres postgres <"$stages/last/docker-entrypoint-initdb.d/vector_search.sql"
answer=$(sql "$stages/last" postgres postgres <<'SQL'
SELECT '[3,4]'::vector <-> '[0,0]';
SQL
)
stop_server "$stages/last" "/usr/lib/postgresql/$major/bin"
[ "$answer" = 5 ] || die "the server answered $answer"
rm -rf "$stages"
say "the steps of packaging/Dockerfile${BUILT:+ that need no build} passed for PostgreSQL $major"
