//! The statements whose calls fail.

/// A statement, and what is run before and after it, when nothing fails.
pub struct Work {
    pub before: &'static str,
    pub statement: &'static str,
    pub after: &'static str,
    /// It is the first statement of a session, which has nothing in its caches.
    pub first: bool,
}

/// A query that changes nothing: it gives the same rows without an index.
const fn query(statement: &'static str) -> Work {
    Work { before: "", statement, after: "", first: false }
}

const fn change(before: &'static str, statement: &'static str, after: &'static str) -> Work {
    Work { before, statement, after, first: false }
}

const fn first(statement: &'static str, after: &'static str) -> Work {
    Work { before: "", statement, after, first: true }
}

/// Tables and indexes of all kinds, as small as may be: each statement is run hundreds of times.
pub const SET_UP: &str = "
CREATE FUNCTION vec(seed bigint, topic bigint) RETURNS vector IMMUTABLE LANGUAGE sql AS $$
    SELECT array_agg(CASE WHEN topic < 100 THEN 1 ELSE 4 END * sin(topic * 37.1 * i + i * i)
        + sin(seed * 12.9898 * i + i))::vector FROM generate_series(1, 16) i $$;
CREATE TABLE items (id bigint PRIMARY KEY, category int, label text, tags int[], embedding vector(16));
INSERT INTO items SELECT n, n % 7, 'label ' || n % 5, ARRAY[n % 3, n % 11], vec(n, n % 20)
    FROM generate_series(1, 800) n;
CREATE INDEX items_index ON items USING ivf (embedding, category, id, label, tags) WITH (lists = 8);
CREATE TABLE kinds AS SELECT id, category, embedding::halfvec(16) AS half,
    binary_quantize(embedding)::bit(16) AS bits, subvector(embedding, 1, 8)::sparsevec(8) AS sparse,
    ARRAY[embedding, vec(id + 1, id)]::vector[] AS many FROM items WHERE id <= 300;
CREATE INDEX half_index ON kinds USING ivf (half halfvec_cosine_ops) WITH (lists = 4);
CREATE INDEX bits_index ON kinds USING ivf (bits bit_hamming_ops) WITH (lists = 4);
CREATE INDEX sparse_index ON kinds USING ivf (sparse sparsevec_l2_ops) WITH (lists = 4);
CREATE INDEX many_index ON kinds USING ivf (many) WITH (lists = 4);
CREATE TABLE wide (id int, embedding vector(700));
ALTER TABLE wide ALTER embedding SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, (SELECT array_agg(sin(n * i * 1.7)) FROM generate_series(1, 700) i)::vector
    FROM generate_series(1, 60) n;
CREATE INDEX wide_index ON wide USING ivf (embedding vector_cosine_ops);
CREATE TABLE parts (id int, part int, embedding vector(16)) PARTITION BY LIST (part);
CREATE TABLE part_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
INSERT INTO parts SELECT id, id % 2, embedding FROM items WHERE id <= 100;
CREATE INDEX ON parts USING ivf (embedding);
CREATE TABLE less (id bigint, embedding vector(16));
INSERT INTO less SELECT id, embedding FROM items WHERE id <= 300;
CREATE TABLE topics (id bigint, embedding vector(16));
INSERT INTO topics SELECT id, embedding FROM items;
CREATE INDEX topics_index ON topics USING ivf (embedding) WITH (lists = 8);
CREATE FUNCTION hnswhandler(internal) RETURNS index_am_handler
    AS '$libdir/vector_search', 'hnswhandler_wrapper' LANGUAGE c;
CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnswhandler;
VACUUM ANALYZE;
ALTER DATABASE postgres SET enable_seqscan = off;
ALTER DATABASE postgres SET enable_bitmapscan = off;
ALTER DATABASE postgres SET max_parallel_workers_per_gather = 0;
ALTER DATABASE postgres SET ivf.recall_target = 1;
ALTER DATABASE postgres SET statement_timeout = '120s';
CREATE FUNCTION inject_held() RETURNS text LANGUAGE c AS '$library';
CREATE FUNCTION inject_pinned() RETURNS int LANGUAGE c AS '$library';
";

/// The indexes that are verified after each call that failed.
pub const INDEXES: [&str; 7] =
    ["items_index", "half_index", "bits_index", "sparse_index", "many_index", "wide_index", "topics_index"];

pub const WORK: &[Work] = &[
    // Orders by a distance, alone and with conditions.
    query("SELECT id FROM items ORDER BY embedding <-> vec(7, 7) LIMIT 10"),
    query(
        "SELECT id FROM items WHERE category IN (3, 4) AND id BETWEEN 100 AND 700 \
        ORDER BY embedding <-> vec(8, 7) LIMIT 10",
    ),
    query(
        "SELECT id FROM items WHERE label = 'label 3' AND tags && ARRAY[1, 5] AND NOT category = 2 \
        ORDER BY embedding <-> vec(8, 7) LIMIT 10",
    ),
    query("SELECT id FROM items WHERE id % 3 = 1 ORDER BY embedding <-> vec(9, 3) LIMIT 10"),
    query("SELECT id FROM items ORDER BY embedding <-> vec(9, 3)"),
    query("SELECT id FROM items ORDER BY embedding <-> vec(9, 3) LIMIT 10 OFFSET 40"),
    query("SELECT id FROM items WHERE embedding <-> vec(7, 7) < 4 ORDER BY embedding <-> vec(7, 7) LIMIT 5"),
    query("SELECT count(*), sum(id) FROM items WHERE embedding <-> vec(7, 7) < 4"),
    query("SELECT min(embedding <-> vec(7, 7)) FROM items"),
    query("SELECT id FROM kinds ORDER BY half <=> vec(7, 7)::halfvec LIMIT 5"),
    query("SELECT id, 1 - (half <=> vec(7, 7)::halfvec) s FROM kinds ORDER BY s DESC LIMIT 5"),
    query(
        "SELECT min(d) FROM (SELECT bits <~> binary_quantize(vec(7, 7))::bit(16) d FROM kinds \
        ORDER BY d LIMIT 5) s",
    ),
    query("SELECT id FROM kinds ORDER BY sparse <-> '{1:1,3:2}/8' LIMIT 5"),
    query("SELECT id FROM kinds ORDER BY many @# ARRAY[vec(3, 3), vec(4, 4)] LIMIT 5"),
    query("SELECT id FROM wide ORDER BY embedding <=> (SELECT embedding FROM wide WHERE id = 9) LIMIT 5"),
    query("SELECT id FROM parts ORDER BY embedding <-> vec(9, 3) LIMIT 5"),
    query(
        "SELECT q.id, n.id FROM items q, LATERAL (SELECT id FROM items i ORDER BY \
        i.embedding <-> q.embedding LIMIT 3) n WHERE q.id < 4",
    ),
    query(
        "SELECT a.id, b.id FROM items a JOIN items b ON a.embedding <-> b.embedding < 2 WHERE a.id < 3 \
        ORDER BY 1, 2",
    ),
    // Plans and what a scan did.
    change(
        "",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM items WHERE category = 3 AND \
        embedding <-> vec(7, 7) < 4 ORDER BY embedding <-> vec(7, 7) LIMIT 5",
        "",
    ),
    change("", "SELECT ivf_last_scan()", ""),
    // Changes of rows.
    change(
        "",
        "INSERT INTO items SELECT n, 3, 'x', '{1}', vec(n, 5) FROM generate_series(2001, 2010) n",
        "DELETE FROM items WHERE id > 2000",
    ),
    change(
        "",
        "INSERT INTO kinds SELECT id + 5000, category, half, bits, sparse, many FROM kinds \
        WHERE id < 5",
        "DELETE FROM kinds WHERE id > 5000",
    ),
    change(
        "",
        "INSERT INTO wide SELECT id + 100, embedding FROM wide WHERE id < 4",
        "DELETE FROM wide WHERE id > 100",
    ),
    change("", "UPDATE items SET embedding = vec(id, 4) WHERE id BETWEEN 10 AND 15", ""),
    change("UPDATE items SET category = category WHERE id % 9 = 1", "VACUUM items", ""),
    change("UPDATE kinds SET id = id WHERE id < 50", "VACUUM kinds", ""),
    // It replaces the lists, because the index was built on an empty table.
    change(
        "TRUNCATE topics; INSERT INTO topics SELECT id, embedding FROM items WHERE id <= 400",
        "VACUUM topics",
        "",
    ),
    change("", "ANALYZE kinds", ""),
    // Indexes.
    change(
        "",
        "CREATE INDEX less_index ON less USING ivf (embedding vector_ip_ops, id) WITH (lists = 4)",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "CREATE INDEX less_index ON kinds USING ivf (half halfvec_l1_ops) WITH (lists = 4)",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "CREATE INDEX less_index ON kinds USING ivf (bits bit_jaccard_ops) WITH (lists = 4)",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "CREATE INDEX less_index ON kinds USING ivf (sparse sparsevec_cosine_ops) WITH (lists = 4)",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "CREATE INDEX less_index ON kinds USING ivf (many) WITH (lists = 4)",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "CREATE INDEX CONCURRENTLY less_index ON less USING ivf ((subvector(embedding, 1, 8)::vector(8))) \
        WHERE id > 9",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "CREATE UNLOGGED TABLE fleeting (e vector(3))",
        "CREATE INDEX ON fleeting USING ivf (e)",
        "DROP TABLE IF EXISTS fleeting",
    ),
    change("", "REINDEX INDEX items_index", ""),
    change(
        "CREATE INDEX less_index ON less USING ivf (embedding)",
        "DROP INDEX less_index",
        "DROP INDEX IF EXISTS less_index",
    ),
    change(
        "",
        "ALTER INDEX items_index SET (recall_target = 0.9)",
        "ALTER INDEX items_index RESET (recall_target)",
    ),
    // Functions about indexes.
    change("", "SELECT ivf_check('items_index', true)", ""),
    change("", "SELECT ivf_check('many_index', true)", ""),
    change("", "SELECT ivf_index_info('items_index')", ""),
    change("", "SELECT ivf_recall('items_index', 5, 5)", ""),
    change("", "SELECT ivf_maintain('items_index', true)", ""),
    change("", "SELECT ivf_maintain('sparse_index', true)", ""),
    change("", "SELECT ivf_recalibrate('items_index')", ""),
    change(
        "",
        "SELECT ivf_recalibrate('items_index', (SELECT array_agg(embedding) FROM items WHERE id < 99))",
        "",
    ),
    change(
        "",
        "SELECT count(*) FROM ivf_neighbours('items_index', (SELECT array_agg(embedding) FROM items \
        WHERE id < 9), 5)",
        "",
    ),
    change("", "SELECT count(*) FROM ivf_neighbour_graph('items_index', 3)", ""),
    change("", "SELECT count(*) FROM ivf_pairs('items_index', 1.5)", ""),
    // Types.
    query("SELECT avg(embedding), sum(embedding), count(DISTINCT embedding) FROM items WHERE id < 50"),
    query("SELECT avg(half), sum(half) FROM kinds WHERE id < 50"),
    query(
        "SELECT '[1,2,3]'::vector + '[4,5,6]', '{1:2,3:4}/5'::sparsevec::vector, '[1,2]'::halfvec::vector, \
        ARRAY[1, 2, 3]::vector, ARRAY[1.5, 2]::numeric[]::halfvec, l2_normalize('[3,4]'::vector), \
        subvector('[1,2,3,4]'::vector, 2, 2), '[1,2]'::vector::real[], binary_quantize('[1,-1]'::vector)",
    ),
    query(
        "SELECT embedding <=> vec(3, 3), embedding <#> vec(3, 3), embedding <+> vec(3, 3), \
        embedding = vec(3, 3), embedding || vec(3, 3) FROM items WHERE id < 5 ORDER BY embedding",
    ),
    change(
        "",
        "COPY (SELECT embedding, half, sparse FROM kinds JOIN items USING (id) WHERE id < 9) \
        TO '/dev/null' (FORMAT binary)",
        "",
    ),
    query("SELECT maxsim(many, many) FROM kinds WHERE id < 5"),
    // Settings, of ours and of pgvector.
    change("", "SET ivf.recall_target = 0.9", "SET ivf.recall_target = 1"),
    change("", "SET hnsw.ef_search = 100", "RESET hnsw.ef_search"),
    change("", "ALTER ROLE postgres SET hnsw.ef_search = 50", "ALTER ROLE postgres RESET hnsw.ef_search"),
    first("SHOW hnsw.ef_search", ""),
    first("SELECT id FROM items ORDER BY embedding <-> vec(7, 7) LIMIT 10", ""),
    first("SELECT ivf_check('sparse_index', true)", ""),
    first(
        "INSERT INTO items SELECT n, 3, 'x', '{1}', vec(n, 5) FROM generate_series(2001, 2003) n",
        "DELETE FROM items WHERE id > 2000",
    ),
];
