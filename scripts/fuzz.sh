#!/usr/bin/env bash
# Fuzzes the targets of tests/fuzz with libFuzzer, which prefers inputs that reach new code. New inputs of
# interest are kept in target/fuzz/corpus, from where the next run goes on; an input that fails is kept in
# target/fuzz/failures, and is repeated by
#   VECTOR_SEARCH_FUZZ_INPUT=FILE cargo test --no-default-features --test fuzz TARGET
# The compiler is the one of all builds: libFuzzer comes as the source of a crate, and needs a C++ compiler.
#
# usage: scripts/fuzz.sh [run [TARGET...]]      FUZZ_SECONDS (default 60) and FUZZ_RUNS end each target's run;
#                                               SANITIZER=address: with AddressSanitizer
#        scripts/fuzz.sh minimise [TARGET...]   replaces tests/fuzz/corpus by few inputs that reach as much
#        scripts/fuzz.sh total                  how many inputs all runs have tried since `make clean`
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# Bytes of the longest input of each target.
declare -A longest=([text]=256 [binary]=256 [pages]=64 [scan]=64 [maintenance]=64)
work="$BUILD/fuzz"
log="$work/runs"

what=${1:-run}
[ $# -eq 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(text binary pages scan maintenance)
for target in "${targets[@]}"; do
    [ -n "${longest[$target]:-}" ] || die "$target is no target; they are: ${!longest[*]}"
done

total() {
    awk '{ sum[$1] += $2; all += $2 } END { for (t in sum) print t, sum[t]; print "all", all + 0 }' "$log"
}
if [ "$what" = total ]; then
    [ -e "$log" ] || die "nothing was fuzzed yet"
    total
    exit
fi

need_programs c++:g++
host="$(rustc -vV | sed -n 's/^host: //p')"
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing)
build="$work/build"
case ${SANITIZER:-} in
    '') ;;
    address)
        # As in test_asan.sh.
        flags+=(-Zsanitizer=address -Cforce-frame-pointers=yes)
        export RUSTC_BOOTSTRAP=1 ASAN_OPTIONS="allocator_may_return_null=1 detect_leaks=0 ${ASAN_OPTIONS:-}"
        build="$work/build-address"
        ;;
    *) die "SANITIZER may be address" ;;
esac
say "building the targets with coverage"
RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$build" cargo build --quiet --release --locked --target "$host" \
    --manifest-path tests/fuzz/Cargo.toml
fuzzer="$build/$host/release/coverage"

# A failure is written where its target's name is seen.
mkdir -p "$work/failures"
for target in "${targets[@]}"; do
    corpus="$work/corpus/$target"
    mkdir -p "$corpus"
    # Long enough for a machine with other work. Memory is that of the largest index and its scans.
    options=(-max_len="${longest[$target]}" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512
        -artifact_prefix="$work/failures/$target-")
    export VECTOR_SEARCH_FUZZ_TARGET=$target
    case $what in
        run)
            say "$target: ${FUZZ_RUNS:+at most $FUZZ_RUNS inputs, }${FUZZ_SECONDS:-60} seconds"
            out="$work/$target.log"
            ended=0
            "$fuzzer" "${options[@]}" -runs="${FUZZ_RUNS:--1}" -max_total_time="${FUZZ_SECONDS:-60}" \
                -print_final_stats=1 "$corpus" "tests/fuzz/corpus/$target" >"$out" 2>&1 \
                || ended=$?
            inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out")
            echo "$target ${inputs:-0} $(date +%F)" >>"$log"
            [ "$ended" -eq 0 ] || { tail -40 "$out" >&2; die "$target failed: $out"; }
            say "$target: $inputs inputs, $(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$out" | tail -1)"
            ;;
        minimise)
            # Copies, because a run that goes on removes files. By lines reached, not by how often: few files.
            rm -rf "$work/all" "$work/least"
            mkdir "$work/all" "$work/least"
            cp "tests/fuzz/corpus/$target"/* "$work/all/"
            find "$corpus" -type f -exec cp -t "$work/all/" {} + 2>/dev/null || true
            "$fuzzer" "${options[@]}" -set_cover_merge=1 -use_counters=0 "$work/least" "$work/all" \
                >"$work/$target-minimise.log" 2>&1 \
                || { tail -40 "$work/$target-minimise.log" >&2; die "the corpus of $target was not minimised"; }
            rm -rf "tests/fuzz/corpus/$target"
            mv "$work/least" "tests/fuzz/corpus/$target"
            say "$target: $(find "tests/fuzz/corpus/$target" -type f | wc -l) inputs," \
                "$(du -bs "tests/fuzz/corpus/$target" | cut -f1) bytes"
            ;;
        *) die "usage: scripts/fuzz.sh [run|minimise|total] [TARGET...]" ;;
    esac
done
[ "$what" != run ] || { say "inputs since make clean"; total >&2; }
