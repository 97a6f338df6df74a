-- An index looks after itself: lists are replaced by VACUUM and by ivf_maintain
\set VERBOSITY terse
CREATE FUNCTION v(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(SELECT 3 * sin(i % 37 * j) + sin(i * j * 0.37) FROM generate_series(1, 16) j)::vector $$;
CREATE FUNCTION state(index regclass) RETURNS TABLE (format int, lists int, due text, running bool, replaced bool, live int)
    LANGUAGE sql AS $$
    SELECT (info ->> 'version')::int, (info ->> 'lists')::int, info #>> '{maintenance,due}', (info #>> '{maintenance,running}')::bool,
        (info #>> '{maintenance,last}')::int > 1700000000, (info ->> 'live_rows')::int FROM ivf_index_info(index) info $$;
-- All rows in order, by the index and without it
CREATE FUNCTION same(q vector) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE by_index int[]; by_table int[];
BEGIN
    SET LOCAL ivf.recall_target = 1;
    SET LOCAL enable_sort = off;
    by_index := ARRAY(SELECT id FROM living ORDER BY e <-> q, id LIMIT 500);
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_sort = on;
    by_table := ARRAY(SELECT id FROM living ORDER BY e <-> q, id LIMIT 500);
    RETURN by_index = by_table;
END $$;
CREATE TABLE living (id int PRIMARY KEY, e vector(16), kind int);
ALTER TABLE living SET (autovacuum_enabled = off);
CREATE INDEX living_e ON living USING ivf (e, kind);
SELECT * FROM state('living_e');
INSERT INTO living SELECT i, v(i), i % 5 FROM generate_series(1, 12000) i;
SELECT * FROM state('living_e');
VACUUM living;
SELECT * FROM state('living_e');
SELECT same(v(17)), same(v(40000));
SELECT count(*) FROM (SELECT 1 FROM living WHERE kind = 3 ORDER BY e <-> v(5) LIMIT 3000) s;
SELECT ivf_check('living_e', true) -> 'live' AS live;
-- Nothing is due
SELECT ivf_maintain('living_e') - '{freed,moved,truncated}'::text[] AS done;
-- Few changes are none
UPDATE living SET kind = kind + 1 WHERE id % 20 = 0;
VACUUM living;
SELECT ivf_maintain('living_e') -> 'reason' AS reason;
-- Many rows of one topic
INSERT INTO living SELECT i, v(37 * i), 1 FROM generate_series(20001, 23000) i;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
SELECT same(v(17)), same(v(0));
-- On demand, in a transaction that is not committed, with a cursor that is open
BEGIN;
INSERT INTO living SELECT i, v(i), 2 FROM generate_series(30001, 30010) i;
DECLARE c CURSOR FOR SELECT id FROM living ORDER BY e <-> v(17);
MOVE 100 IN c;
SELECT ivf_maintain('living_e', true) - '{freed,moved,truncated}'::text[] AS done;
SELECT count(*) FROM (SELECT 1 FROM living ORDER BY e <-> v(17) LIMIT 100000) s;
MOVE ALL IN c;
ROLLBACK;
SELECT ivf_check('living_e', true) -> 'live' AS live;
SELECT same(v(17));
-- Space comes back
SELECT pg_relation_size('living_e') AS before \gset
DELETE FROM living WHERE id % 10 > 0;
VACUUM living;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
SELECT pg_relation_size('living_e') < :before / 5 AS smaller;
SELECT same(v(17)), ivf_check('living_e', true) - '{pages,unused_pages}'::text[] AS checked;
-- An index may be excluded from it
ALTER INDEX living_e SET (renew = off);
INSERT INTO living SELECT i, v(i), i % 5 FROM generate_series(40001, 60000) i;
VACUUM living;
SELECT lists, due FROM state('living_e');
SELECT ivf_maintain('living_e') - '{freed,moved,truncated}'::text[] AS done;
-- The file is about as long as that of a new index
CREATE INDEX living_n ON living USING ivf (e, kind);
SELECT pg_relation_size('living_e') < 1.5 * pg_relation_size('living_n') AS short;
DROP INDEX living_n;
SELECT same(v(17)), ivf_check('living_e', true) -> 'live' AS live;
INSERT INTO living SELECT i, v(3 * i), i % 5 FROM generate_series(60001, 68000) i;
VACUUM living;
SELECT lists, due FROM state('living_e');
-- Kinds of indexes
CREATE INDEX living_b ON living USING ivf (e) WITH (bits = 1);
CREATE INDEX living_h ON living USING ivf ((e::halfvec(16)) halfvec_cosine_ops, kind) WHERE kind <> 2;
CREATE INDEX living_s ON living USING ivf ((binary_quantize(e)::bit(16)) bit_hamming_ops);
SELECT c.relname, ivf_maintain(c.oid, true) ->> 'reason' AS reason, ivf_check(c.oid, true) -> 'live' AS live
    FROM pg_class c WHERE relname IN ('living_b', 'living_h', 'living_s') ORDER BY 1;
SELECT count(*) FROM (SELECT 1 FROM living WHERE kind <> 2 ORDER BY e::halfvec(16) <=> v(5)::halfvec LIMIT 100000) s;
-- So it is after most rows were deleted
ALTER INDEX living_e RESET (renew);
DELETE FROM living WHERE id % 5 < 4;
VACUUM living;
VACUUM living;
CREATE INDEX living_n ON living USING ivf (e, kind);
SELECT pg_relation_size('living_e') < 1.5 * pg_relation_size('living_n') AS short;
DROP INDEX living_n;
DROP TABLE living;
CREATE UNLOGGED TABLE living (id int, e vector(16));
CREATE INDEX living_e ON living USING ivf (e);
INSERT INTO living SELECT i, v(i) FROM generate_series(1, 11000) i;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
DROP TABLE living;
CREATE TEMP TABLE living (id int, e vector(16));
CREATE INDEX living_e ON living USING ivf (e);
INSERT INTO living SELECT i, v(i) FROM generate_series(1, 11000) i;
SELECT ivf_maintain('living_e') - '{freed,moved,truncated}'::text[] AS done;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
DROP TABLE living;
-- An expression that raises an error by now does not fail VACUUM: the lists stay as they are
CREATE TABLE living (id int, e vector(16)) WITH (autovacuum_enabled = off);
CREATE FUNCTION fails(vector) RETURNS vector IMMUTABLE LANGUAGE plpgsql AS $$
    DECLARE at int := nullif(current_setting('living.fails_at', true), '');
        calls int := 1 + coalesce(nullif(current_setting('living.calls', true), '')::int, 0);
    BEGIN
        IF at IS NOT NULL THEN
            PERFORM set_config('living.calls', calls::text, false);
            IF calls >= at THEN RAISE EXCEPTION 'call % fails', at; END IF;
        END IF;
        RETURN $1;
    END $$;
CREATE INDEX living_e ON living USING ivf ((fails(e)::vector(16)));
INSERT INTO living SELECT i, v(i) FROM generate_series(1, 12000) i;
SET living.fails_at = 1;
DELETE FROM living WHERE id <= 100;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
SELECT ivf_maintain('living_e') IS NULL AS failed;
VACUUM living;
RESET living.fails_at;
VACUUM living;
SELECT lists, due, live FROM state('living_e');
SELECT count(*) FROM (SELECT 1 FROM living ORDER BY fails(e)::vector(16) <-> v(17) LIMIT 100000) s;
-- A replacement that was begun is ended even if the index is excluded by now
INSERT INTO living SELECT i, v(i) FROM generate_series(12101, 20000) i;
SET living.fails_at = 15000;
VACUUM living;
ALTER INDEX living_e SET (renew = off);
RESET living.fails_at;
SELECT due FROM state('living_e');
VACUUM living;
SELECT lists, due, live FROM state('living_e');
DROP TABLE living;
DROP FUNCTION fails, same, state, v;
