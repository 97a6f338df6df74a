//! From pgvector to this extension and back, as docs/moving-from-pgvector.md says. Skipped where the server
//! has no pgvector.

use crate::harness::Server;
use crate::pgvector::has_pgvector;
use crate::readme::sql_blocks;

const TABLES: &str = r#"
SET search_path = public;
CREATE TABLE docs (id serial PRIMARY KEY, embedding vector(8) NOT NULL, half halfvec(4),
    sparse sparsevec(100), free vector);
INSERT INTO docs (embedding, half, sparse, free)
    SELECT v, subvector(v, 1, 4), (SELECT format('{%s:1,%s:-2.5}/100', i % 50 + 1,
    i % 50 + 51))::sparsevec, v FROM (
    SELECT i, (SELECT array_agg(sin(i * 0.37 + j * (i % 17 + 1))) FROM generate_series(1, 8) j)::vector(8) v
    FROM generate_series(1, 3000) i) x;
CREATE INDEX by_cosine ON docs USING hnsw (embedding vector_cosine_ops) WITH (m = 8, ef_construction = 32);
CREATE INDEX by_half ON docs USING ivfflat (half halfvec_l2_ops) WITH (lists = 10);
CREATE INDEX "of two" ON docs USING hnsw ((free::vector(8)) vector_l2_ops) WHERE id > 100;
CREATE INDEX by_value ON docs (embedding);
CREATE TABLE parts (k int, v vector(2)) PARTITION BY RANGE (k);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts SELECT i % 10, ARRAY[i, 1]::vector FROM generate_series(1, 100) i;
"#;

/// The contents of the tables, whichever extension's types they have.
const CONTENT: &str = "SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT * FROM docs) x \
    UNION ALL SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM parts x \
    UNION ALL SELECT md5(string_agg(pg_column_size(embedding)::text || ' ' || pg_column_size(sparse), '')) \
    FROM docs";

fn types(server: &Server) -> String {
    server.sql(
        "SELECT string_agg(DISTINCT format_type(atttypid, atttypmod), ' ') FROM pg_attribute \
         WHERE attrelid IN ('docs'::regclass, 'parts1'::regclass) AND attname !~ '^(id|k)$' AND attnum > 0",
    )
}

fn methods(server: &Server) -> String {
    server.sql(
        "SELECT string_agg(DISTINCT amname, ' ' ORDER BY amname) FROM pg_class c JOIN pg_am a \
         ON a.oid = relam JOIN pg_index i ON indexrelid = c.oid WHERE indrelid = 'docs'::regclass",
    )
}

#[test]
fn a_database_moves_in_place_and_back() {
    let server = Server::new("moving", &["fsync = off"]);
    if !has_pgvector(&server) {
        return;
    }
    server.sql("DROP EXTENSION vector_search; CREATE EXTENSION vector");
    server.sql(TABLES);
    let before = server.sql(CONTENT);
    let nearest =
        "SELECT id FROM docs ORDER BY embedding <=> (SELECT embedding FROM docs WHERE id = 5) LIMIT 5";
    // pgvector's graphs are random, and now and then a scan misses a row. So its results are not compared.
    let exactly = format!("SET enable_indexscan = off; {nearest}");
    let found = server.sql(&exactly);
    let blocks = sql_blocks("docs/moving-from-pgvector.md");
    assert_eq!(blocks.len(), 5, "set-up, casts, function, there, back");
    for block in &blocks[..4] {
        server.sql(block);
    }
    assert_eq!(server.sql(CONTENT), before);
    assert_eq!(
        types(&server),
        "vector_search.halfvec(4) vector_search.sparsevec(100) vector_search.vector vector_search.vector(2) \
         vector_search.vector(8)"
    );
    assert_eq!(methods(&server), "btree ivf");
    let path =
        "SET search_path = vector_search, public; SET enable_seqscan = off; SET ivf.recall_target = 1; ";
    assert_eq!(server.sql(&format!("{path}{nearest}")), found);
    let plan = server.sql(&format!("{path} EXPLAIN {nearest}"));
    assert!(plan.contains("by_cosine"), "{plan}");
    server.sql(
        "SELECT vector_search.ivf_check(indexrelid, true) FROM pg_index i JOIN pg_class c \
         ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam WHERE amname = 'ivf'",
    );
    // The other extension can be dropped and created again.
    server.sql("DROP EXTENSION vector CASCADE");
    server.sql("ALTER EXTENSION vector_search SET SCHEMA public");
    assert_eq!(server.sql(&format!("SET enable_seqscan = off; {nearest}")), found);
    server.sql("ALTER EXTENSION vector_search SET SCHEMA vector_search; CREATE EXTENSION vector");
    server.sql(&blocks[1]);
    server.sql(&blocks[4]);
    assert_eq!(server.sql(CONTENT), before);
    assert_eq!(types(&server), "halfvec(4) sparsevec(100) vector vector(2) vector(8)");
    assert_eq!(methods(&server), "btree hnsw");
    server.sql("DROP EXTENSION vector_search CASCADE");
    assert_eq!(server.sql(&exactly), found);
    let plan = server.sql(&format!("SET enable_seqscan = off; EXPLAIN {nearest}"));
    assert!(plan.contains("by_cosine"), "{plan}");
    assert_eq!(server.sql(&format!("SET enable_seqscan = off; {nearest}")).lines().count(), 5);
}

#[test]
fn binary_copies_are_read_by_both() {
    let server = Server::new("copying", &["fsync = off"]);
    if !has_pgvector(&server) {
        return;
    }
    server.sql(
        "CREATE SCHEMA ours; ALTER EXTENSION vector_search SET SCHEMA ours; CREATE SCHEMA theirs; \
         CREATE EXTENSION vector SCHEMA theirs",
    );
    for (from, to) in [("ours", "theirs"), ("theirs", "ours")] {
        server.sql(&format!(
            "CREATE TABLE a (v {from}.vector(3), h {from}.halfvec(3), s {from}.sparsevec(3));
             CREATE TABLE b (v {to}.vector(3), h {to}.halfvec(3), s {to}.sparsevec(3));
             SET search_path = public, {from};
             INSERT INTO a SELECT v, v, v FROM (SELECT ARRAY[i, 1.5 / i, 0]::vector(3) \
             FROM generate_series(1, 1000) i) x (v);
             INSERT INTO a VALUES (NULL, NULL, NULL);
             COPY a TO PROGRAM 'cat > /tmp/vs-copy-$PPID' (FORMAT binary);
             COPY b FROM PROGRAM 'cat /tmp/vs-copy-$PPID; rm /tmp/vs-copy-$PPID' (FORMAT binary);"
        ));
        let differ = "SELECT count(*) FROM (SELECT a::text FROM a EXCEPT SELECT b::text FROM b) x";
        assert_eq!(server.sql(&format!("{differ}; SELECT count(*) FROM b")), "0\n1001");
        server.sql("DROP TABLE a, b");
    }
}
