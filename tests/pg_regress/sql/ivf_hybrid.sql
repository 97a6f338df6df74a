-- The hybrid search of docs/queries.md: reciprocal ranks of a vector search and a full-text search, each with its own index.
CREATE TABLE d (id int PRIMARY KEY, body text, e vector(3),
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED);
INSERT INTO d SELECT i, 'w' || i % 7 || CASE WHEN i % 5 = 0 THEN ' w1 w1' ELSE '' END,
    ARRAY[sin(i), cos(i * 1.3), sin(i * 0.7)] FROM generate_series(1, 2000) i;
CREATE INDEX d_e ON d USING ivf (e vector_cosine_ops);
CREATE INDEX d_words ON d USING gin (words);
ANALYZE d;
CREATE VIEW fused AS WITH by_meaning AS (
    SELECT id, e <=> '[1,0.1,0]' AS distance FROM d ORDER BY distance LIMIT 40
), by_words AS (
    SELECT id, ts_rank_cd(words, query) AS rank FROM d, websearch_to_tsquery('simple', 'w1') query
    WHERE words @@ query AND id % 50 = 0 ORDER BY rank DESC, id LIMIT 40
), ranked AS (
    SELECT id, 1.0 AS weight, row_number() OVER (ORDER BY distance) AS place FROM by_meaning
    UNION ALL
    SELECT id, 1.0, row_number() OVER (ORDER BY rank DESC, id) FROM by_words
) SELECT id, sum(weight / (60 + place)) AS score FROM ranked GROUP BY id ORDER BY score DESC, id LIMIT 20;
SET ivf.recall_target = 1;
EXPLAIN (COSTS OFF) SELECT id, e <=> '[1,0.1,0]' AS distance FROM d ORDER BY distance LIMIT 40;
CREATE TEMP TABLE by_index AS SELECT * FROM fused;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT count(*), bool_and(a.score = b.score) FROM by_index a FULL JOIN fused b USING (id);
-- The first row is the best of both searches, or of one
SELECT max(score) <= 2.0 / 61 AND max(score) >= 1.0 / 61 FROM fused;
RESET ALL;
DROP VIEW fused;
DROP TABLE d, by_index;
