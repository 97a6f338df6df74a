-- What SQLsmith makes its statements of: tables with each indexable type and indexes of each metric, functions
-- that give it values of these types, and views with what it does not write by itself, orders above all.
CREATE EXTENSION vector_search;

-- Values to compare with. The planner makes constants of calls with constants.
CREATE FUNCTION some_vector(i int) RETURNS vector IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT array_agg(sin(coalesce(i, 0) % 97 * 0.7 + d))::vector(12) FROM generate_series(1, 12) d $$;
CREATE FUNCTION some_halfvec(i int) RETURNS halfvec IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT some_vector(i)::halfvec $$;
CREATE FUNCTION some_sparsevec(i int) RETURNS sparsevec IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT format('{%s:1,%s:%s,%s:-1}/2000', 1 + coalesce(i, 0) % 40 + 40, 100 + coalesce(i, 0) % 7,
        1 + coalesce(i, 0) % 5, 300 + coalesce(i, 0) % 90)::sparsevec $$;
CREATE FUNCTION some_bit(i int) RETURNS bit IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT ('x' || md5((coalesce(i, 0) % 300)::text))::bit(64) $$;
CREATE FUNCTION some_tokens(i int) RETURNS vector[] IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT array_agg(some_vector(i + t)) FROM generate_series(0, 1 + coalesce(i, 0) % 3) t $$;
CREATE FUNCTION some_text(i int) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT (ARRAY['a', 'b', 'c'])[1 + coalesce(i, 0) % 3] $$;
CREATE FUNCTION some_labels(i int) RETURNS text[] IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT ARRAY[some_text(i), some_text(i + 1)] $$;
CREATE FUNCTION some_radius(i int) RETURNS float8 IMMUTABLE PARALLEL SAFE LANGUAGE sql
    AS $$ SELECT coalesce(i, 0) % 10 * 0.2 $$;

CREATE TABLE items (id int PRIMARY KEY, kind int NOT NULL, price float8, sold bool, label text, labels text[],
    made date, e vector(12), h halfvec(12), s sparsevec(2000), b bit(64), tokens vector(12)[], long vector(600));
CREATE TABLE parts (id int, kind int, e vector(12)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
CREATE TABLE parts_default PARTITION OF parts DEFAULT;
CREATE TABLE growing (id int, label text, e vector(12));
CREATE INDEX ON growing USING ivf (e, label);

INSERT INTO items SELECT i, i % 7, i % 100 / 10.0, i % 2 = 0, some_text(i), some_labels(i), date '2026-01-01' + i % 400,
    some_vector(i), some_halfvec(i), some_sparsevec(i), some_bit(i), some_tokens(i),
    CASE WHEN i % 4 = 0 THEN (SELECT array_agg(sin(i + d)) FROM generate_series(1, 600) d)::vector END
    FROM generate_series(1, 3000) i;
INSERT INTO items (id, kind) SELECT i, i % 7 FROM generate_series(3001, 3050) i;
INSERT INTO items (id, kind, e, h, b) SELECT i, i % 7, array_fill(0, ARRAY[12])::vector, array_fill(0, ARRAY[12])::halfvec,
    repeat('0', 64)::bit(64) FROM generate_series(3051, 3100) i;
INSERT INTO parts SELECT id, kind, e FROM items;
INSERT INTO growing SELECT id, label, e FROM items WHERE id < 1000;

CREATE INDEX ON items USING ivf (e, kind, price, label, labels) WITH (lists = 20);
CREATE INDEX ON items USING ivf (e vector_cosine_ops, sold, made) WITH (lists = 15, bits = 8);
CREATE INDEX ON items USING ivf (e vector_ip_ops) WITH (lists = 10, bits = 1);
CREATE INDEX ON items USING ivf (e vector_l1_ops, kind);
CREATE INDEX ON items USING ivf (h, id) WITH (lists = 10);
CREATE INDEX ON items USING ivf (h halfvec_cosine_ops, price) WHERE kind < 5;
CREATE INDEX ON items USING ivf (h halfvec_l1_ops);
CREATE INDEX ON items USING ivf (s, kind) WITH (lists = 10);
CREATE INDEX ON items USING ivf (s sparsevec_ip_ops);
CREATE INDEX ON items USING ivf (b, kind, label) WITH (lists = 5);
CREATE INDEX ON items USING ivf (b bit_jaccard_ops);
CREATE INDEX ON items USING ivf (tokens vector_maxsim_ops, kind);
CREATE INDEX ON items USING ivf (long vector_cosine_ops, id);
CREATE INDEX ON items USING ivf ((e + e), (kind % 3));
CREATE INDEX ON parts USING ivf (e vector_cosine_ops, kind);
ANALYZE items, parts, growing;

-- The indexes, for functions that take one.
CREATE VIEW indexes AS SELECT c.oid::regclass AS index, c.relname::text AS name, c.reltuples::int AS tuples
    FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'ivf' AND c.relkind = 'i';

CREATE VIEW nearest AS SELECT id, kind, price, label, e FROM items ORDER BY e <-> some_vector(3) LIMIT 20;
CREATE VIEW nearest_filtered AS SELECT id, kind, sold, made, h FROM items WHERE sold AND made > date '2026-03-01'
    ORDER BY e <=> some_vector(5) LIMIT 15;
CREATE VIEW nearest_labels AS SELECT id, labels, e FROM items WHERE labels @> ARRAY['a'] AND (kind = 2 OR price < 3)
    ORDER BY e <-> some_vector(11) LIMIT 15;
CREATE VIEW all_by_l1 AS SELECT id, kind, e, e <+> some_vector(2) AS distance FROM items ORDER BY e <+> some_vector(2);
CREATE VIEW all_by_ip AS SELECT id, kind, e, e <#> some_vector(2) AS distance FROM items ORDER BY e <#> some_vector(2);
CREATE VIEW all_by_half AS SELECT id, price, h, h <-> some_halfvec(8) AS distance FROM items ORDER BY h <-> some_halfvec(8);
CREATE VIEW by_similarity AS SELECT id, kind, 1 - (e <=> some_vector(9)) AS similarity, e FROM items
    ORDER BY 1 - (e <=> some_vector(9)) DESC LIMIT 30;
CREATE VIEW half_l1 AS SELECT id, kind, h FROM items ORDER BY h <+> some_halfvec(8) LIMIT 30;
CREATE VIEW half_cosine AS SELECT id, price, h FROM items WHERE kind < 5 AND price > 2 ORDER BY h <=> some_halfvec(8) LIMIT 30;
CREATE VIEW growing_near AS SELECT id, label, e FROM growing WHERE label IN ('a', 'b') ORDER BY e <-> some_vector(8) LIMIT 30;
CREATE VIEW sparse AS SELECT id, kind, s, s <-> some_sparsevec(4) AS distance FROM items ORDER BY s <-> some_sparsevec(4) LIMIT 25;
CREATE VIEW sparse_ip AS SELECT id, s FROM items ORDER BY s <#> some_sparsevec(4) LIMIT 25;
CREATE VIEW hamming AS SELECT id, kind, label, b FROM items WHERE kind <> 3 ORDER BY b <~> some_bit(4) LIMIT 25;
CREATE VIEW jaccard AS SELECT id, kind, b FROM items ORDER BY b <%> some_bit(4) LIMIT 25;
CREATE VIEW maxsim AS SELECT id, kind, tokens FROM items ORDER BY tokens @# some_tokens(4) LIMIT 25;
CREATE VIEW long_near AS SELECT id, long FROM items ORDER BY long <=> (SELECT long FROM items WHERE id = 8) LIMIT 25;
CREATE VIEW doubled AS SELECT id, kind FROM items ORDER BY (e + e) <-> some_vector(1) LIMIT 25;
CREATE VIEW parts_near AS SELECT id, kind, e FROM parts ORDER BY e <=> some_vector(6) LIMIT 25;
CREATE VIEW within AS SELECT id, kind, price, e FROM items WHERE e <-> some_vector(3) < 1.1 AND kind IN (1, 2, 3);
CREATE VIEW within_parts AS SELECT id, kind, e FROM parts WHERE e <=> some_vector(3) < 0.1;
CREATE VIEW within_either AS SELECT id, e FROM items WHERE e <-> some_vector(3) < 0.4 OR e <-> some_vector(4) < 0.4;
CREATE VIEW neighbours AS SELECT a.id, a.kind, n.id AS neighbour, n.distance FROM parts a CROSS JOIN LATERAL
    (SELECT b.id, a.e <-> b.e AS distance FROM items b WHERE b.kind = a.kind ORDER BY a.e <-> b.e LIMIT 3) n;
CREATE VIEW pairs AS SELECT a.id, b.id AS other, a.kind, b.label FROM parts a JOIN items b ON a.e <-> b.e < 0.2;
CREATE VIEW without_near AS SELECT id, kind, e FROM parts a WHERE NOT EXISTS
    (SELECT FROM items b WHERE b.e <=> a.e < 0.00001 AND b.id > a.id);
CREATE VIEW hybrid AS SELECT id, sum(1.0 / (60 + place)) AS score FROM (
    (SELECT id, rank() OVER (ORDER BY e <=> some_vector(7)) AS place FROM items ORDER BY e <=> some_vector(7) LIMIT 20)
    UNION ALL (SELECT id, rank() OVER (ORDER BY price) FROM items WHERE label = 'a' ORDER BY price LIMIT 20)) x GROUP BY id;
CREATE VIEW averages AS SELECT kind, avg(e) AS e, sum(h) AS h, count(*) AS rows FROM items GROUP BY kind;
CREATE MATERIALIZED VIEW centres AS SELECT kind, avg(e) AS e FROM items GROUP BY kind;
