-- Shapes of columns, indexes and queries that applications bring
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    -- Removes a difference of majors: older ones show an index condition that newer ones know to be always true
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ 'Index Scan|Index Cond|Seq Scan|Filter|Sort Key' AND line !~ 'InitPlan|embedding IS NOT NULL\)$' THEN
            RETURN NEXT btrim(regexp_replace(line, 'dd?_\d\.', '', 'g'), ' ->');
        END IF;
    END LOOP;
END $$;
CREATE TABLE docs (id int PRIMARY KEY, meta jsonb, embedding vector(3) NOT NULL, optional vector(3));
INSERT INTO docs SELECT i, jsonb_build_object('lang', (ARRAY['en', 'de', 'fr'])[1 + i % 3], 'year', 1990 + i % 30),
    v, CASE WHEN i % 10 > 0 THEN v END
    FROM (SELECT i, ARRAY[sin(i), cos(i), sin(i * 0.7)]::vector FROM generate_series(1, 10000) i) x (i, v);

-- Fields of a jsonb column as filter columns: the condition has the same expression
CREATE INDEX by_fields ON docs USING ivf (embedding vector_cosine_ops, (meta->>'lang'), ((meta->>'year')::int));
ANALYZE docs;
SELECT plan_of($$SELECT id FROM docs WHERE meta->>'lang' = 'en' ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs WHERE meta->>'lang' = 'de' AND (meta->>'year')::int >= 2000
    ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SET ivf.recall_target = 1;
SELECT id FROM docs WHERE meta->>'lang' = 'en' AND (meta->>'year')::int = 2017 ORDER BY embedding <=> '[1,2,3]' LIMIT 3;
SET enable_indexscan = off;
SELECT id FROM docs WHERE meta->>'lang' = 'en' AND (meta->>'year')::int = 2017 ORDER BY embedding <=> '[1,2,3]' LIMIT 3;
RESET enable_indexscan;
RESET ivf.recall_target;
-- Another form of the condition is tested on the rows that the index returns
SET enable_seqscan = off;
SELECT plan_of($$SELECT id FROM docs WHERE meta @> '{"lang": "en"}' ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
RESET enable_seqscan;

-- A vector from one row: as a subquery it is known before the scan begins, as a join it is not
SELECT plan_of('SELECT id FROM docs ORDER BY embedding <=> (SELECT embedding FROM docs WHERE id = 5) LIMIT 5');
SELECT plan_of('WITH q AS (SELECT embedding AS e FROM docs WHERE id = 5)
    SELECT id FROM docs ORDER BY embedding <=> (SELECT e FROM q) LIMIT 5');
SELECT plan_of('SELECT n.id FROM docs q, LATERAL (SELECT id FROM docs ORDER BY embedding <=> q.embedding LIMIT 5) n WHERE q.id = 5');
SET ivf.recall_target = 1;
SELECT id FROM docs ORDER BY embedding <=> (SELECT embedding FROM docs WHERE id = 5) LIMIT 3;
RESET ivf.recall_target;

-- Partial indexes WHERE … IS NOT NULL
DROP INDEX by_fields;
CREATE INDEX partly ON docs USING ivf (embedding vector_cosine_ops) WHERE embedding IS NOT NULL;
SELECT plan_of($$SELECT id FROM docs WHERE embedding IS NOT NULL ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs ORDER BY 1 - (embedding <=> '[1,2,3]') DESC LIMIT 5$$);
DROP INDEX partly;
-- Other parts of a predicate must still be implied by the query
CREATE INDEX partly ON docs USING ivf (embedding vector_cosine_ops) WHERE embedding IS NOT NULL AND id > 5000;
SELECT plan_of($$SELECT id FROM docs WHERE embedding IS NOT NULL AND id > 6000 ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
DROP INDEX partly;
CREATE INDEX partly ON docs USING ivf (embedding vector_cosine_ops) WHERE optional IS NOT NULL;
SELECT plan_of($$SELECT id FROM docs ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs WHERE optional IS NOT NULL ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);
DROP INDEX partly;
-- If the column may have NULLs, a query that does not exclude them returns them last
CREATE INDEX partly ON docs USING ivf (optional vector_cosine_ops) WHERE optional IS NOT NULL;
SELECT plan_of($$SELECT id FROM docs WHERE optional IS NOT NULL ORDER BY optional <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM docs ORDER BY optional <=> '[1,2,3]' LIMIT 5$$);
-- The planner notices if a constraint is added or dropped
ALTER TABLE docs ALTER embedding DROP NOT NULL;
CREATE INDEX partly2 ON docs USING ivf (embedding vector_cosine_ops) WHERE embedding IS NOT NULL;
PREPARE nearest AS SELECT id FROM docs ORDER BY embedding <=> '[1,2,3]' LIMIT 5;
SELECT plan_of('EXECUTE nearest');
ALTER TABLE docs ALTER embedding SET NOT NULL;
SELECT plan_of('EXECUTE nearest');
ALTER TABLE docs ALTER embedding DROP NOT NULL;
SELECT plan_of('EXECUTE nearest');
-- Partitions
CREATE TABLE parts (id int, embedding vector(3) NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (5001);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (5001) TO (20000);
INSERT INTO parts SELECT id, embedding FROM docs;
CREATE INDEX ON parts USING ivf (embedding vector_cosine_ops) WHERE embedding IS NOT NULL;
ANALYZE parts;
SELECT plan_of($$SELECT id FROM parts WHERE embedding IS NOT NULL ORDER BY embedding <=> '[1,2,3]' LIMIT 5$$);

-- Domains
CREATE DOMAIN emb AS vector(3) CHECK (vector_norm(VALUE) < 100);
CREATE DOMAIN emb_of_emb AS emb;
CREATE DOMAIN emb_half AS halfvec(3);
CREATE DOMAIN emb_bits AS bit(64);
CREATE DOMAIN emb_any AS vector;
CREATE TABLE domains (id int PRIMARY KEY, a emb, b emb_of_emb, c emb_half, d emb_bits, e emb_any);
INSERT INTO domains SELECT id, embedding, embedding, embedding, (hashint8(id)::bit(32) || hashint8(id + 1)::bit(32))::bit(64), embedding FROM docs;
CREATE INDEX dom_a ON domains USING ivf (a vector_cosine_ops);
CREATE INDEX dom_a_l2 ON domains USING ivf (a);
CREATE INDEX dom_b ON domains USING ivf (b vector_ip_ops);
CREATE INDEX dom_c ON domains USING ivf (c halfvec_cosine_ops);
CREATE INDEX dom_d ON domains USING ivf (d bit_hamming_ops);
CREATE INDEX dom_e ON domains USING ivf (e vector_cosine_ops);
CREATE INDEX dom_f ON domains USING ivf ((e::vector(3)) vector_cosine_ops);
ANALYZE domains;
SELECT plan_of($$SELECT id FROM domains ORDER BY a <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY a <-> '[1,2,3]'::emb LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY b <#> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY c <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY d <~> B'1'::bit(64) LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY e::vector(3) <=> '[1,2,3]' LIMIT 5$$);
SELECT plan_of($$SELECT id FROM domains ORDER BY 1 - (a <=> '[1,2,3]') DESC NULLS LAST LIMIT 5$$);
SET ivf.recall_target = 1;
SET enable_seqscan = off;
SELECT id FROM domains ORDER BY a <=> (SELECT a FROM domains WHERE id = 5) LIMIT 3;
SELECT id FROM domains ORDER BY b <#> '[1,0,0]' LIMIT 3;
SELECT id FROM domains ORDER BY d <~> (SELECT d FROM domains WHERE id = 7) LIMIT 1;
INSERT INTO domains (id, a) VALUES (10001, '[0,0,50]');
INSERT INTO domains (id, a) VALUES (10002, '[0,0,101]');
INSERT INTO domains (id, a) VALUES (10003, '[0,0]');
SELECT id FROM domains ORDER BY a <-> '[0,0,49]' LIMIT 1;
RESET enable_seqscan;
RESET ivf.recall_target;
SELECT count(ivf_check(i::regclass, true)) FROM unnest('{dom_a,dom_a_l2,dom_b,dom_c,dom_d,dom_e,dom_f}'::text[]) i;
SELECT (ivf_recall('dom_a') ->> 'recall')::float > 0.9 AS good;
SELECT jsonb_typeof(ivf_recalibrate('dom_a', (SELECT array_agg(a::vector) FROM (SELECT a FROM domains LIMIT 60) x)));
SELECT avg(a) = avg(e) AS same FROM domains WHERE id <= 10000;

DROP TABLE docs, parts, domains;
DROP DOMAIN emb_of_emb, emb, emb_half, emb_bits, emb_any;
DROP FUNCTION plan_of;
