-- The rights with which functions in an index run, and what users can learn.
-- An owner whose functions record the user who runs them, and a guest.
-- The context of an error passes through Rust only from PostgreSQL 19 on.
\set SHOW_CONTEXT never
CREATE ROLE ivf_owner;
CREATE ROLE ivf_guest;
CREATE SCHEMA trap AUTHORIZATION ivf_owner;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
SET SESSION AUTHORIZATION ivf_owner;
CREATE TABLE trap.t (id int PRIMARY KEY, e public.vector(3));
CREATE TABLE trap.seen (entry text, what text, who name, path text, UNIQUE (entry, what, who, path));
GRANT SELECT, INSERT ON trap.seen TO PUBLIC;
-- What a recording function tries if it is told to, and the result
CREATE FUNCTION trap.try(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE command; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END $$;
CREATE FUNCTION trap.note(what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE entry text := current_setting('trap.entry', true); command text;
BEGIN
    IF entry = 'error' THEN RAISE EXCEPTION 'an error of the owner''s'; END IF;
    INSERT INTO trap.seen VALUES (entry, what, current_user, current_setting('search_path')) ON CONFLICT DO NOTHING;
    IF entry = 'escape' AND NOT EXISTS (SELECT FROM trap.seen s WHERE s.what = 'ALTER ROLE ivf_owner SUPERUSER') THEN
        FOREACH command IN ARRAY ARRAY['SET ROLE ivf_guest', 'SET ROLE postgres', 'RESET ROLE', 'SET SESSION AUTHORIZATION postgres',
            'RESET SESSION AUTHORIZATION', 'SET LOCAL search_path = trap', 'SET search_path = trap', 'SET ivf.probes = 7',
            'CREATE TEMP TABLE x (i int)', 'DECLARE x CURSOR WITH HOLD FOR SELECT 1', 'PREPARE x AS SELECT 1', 'LISTEN x',
            'DROP INDEX trap.t_all', 'ALTER ROLE ivf_owner SUPERUSER']
        LOOP INSERT INTO trap.seen VALUES (entry, command, current_user, trap.try(command)); END LOOP;
    END IF;
END $$;
CREATE FUNCTION trap.vec(e public.vector) RETURNS public.vector IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM trap.note('vector'); RETURN e; END $$;
CREATE FUNCTION trap.key(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM trap.note('filter column'); RETURN i; END $$;
CREATE FUNCTION trap.holds(i int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM trap.note('predicate'); RETURN i > 0; END $$;
INSERT INTO trap.t SELECT i, format('[%s,%s,%s]', i % 17, i % 5, i % 7)::vector FROM generate_series(1, 300) i;
RESET SESSION AUTHORIZATION;

-- Users and functions recorded since the last call; the search_path if the extension must have set it
CREATE FUNCTION seen() RETURNS SETOF text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM trap.seen RETURNING *)
    SELECT DISTINCT concat_ws(', ', entry, what, who, CASE WHEN entry ~ '^ivf_|VACUUM' THEN path END) FROM gone ORDER BY 1 $$;

-- Builds run as the owner, whoever starts them
SET trap.entry = 'CREATE INDEX';
CREATE INDEX t_all ON trap.t USING ivf ((trap.vec(e)::vector(3)), (trap.key(id))) WHERE trap.holds(id);
CREATE INDEX t_plain ON trap.t USING ivf (e, (trap.key(id)));
SET trap.entry = 'CREATE INDEX CONCURRENTLY';
CREATE INDEX CONCURRENTLY t_lists ON trap.t USING ivf (e, (trap.key(id))) WITH (lists = 30) WHERE trap.holds(id);
SET trap.entry = 'REINDEX';
REINDEX INDEX trap.t_all;
SET trap.entry = 'REINDEX CONCURRENTLY';
REINDEX INDEX CONCURRENTLY trap.t_all;
SELECT seen();

-- A query runs as the caller, and evaluates only expressions that it uses
SET enable_seqscan = off;
SET trap.entry = 'plain query';
SELECT id FROM trap.t ORDER BY e <-> '[0.9,2,3]' LIMIT 2;
SET trap.entry = 'query';
EXPLAIN (COSTS OFF) SELECT id FROM trap.t WHERE trap.holds(id) ORDER BY trap.vec(e)::vector(3) <-> '[0.9,2,3]' LIMIT 2;
SELECT id FROM trap.t WHERE trap.holds(id) ORDER BY trap.vec(e)::vector(3) <-> '[0.9,2,3]' LIMIT 2;
SELECT seen();
SET trap.entry = 'query that names the filter column';
SELECT id FROM trap.t WHERE trap.key(id) = 5 ORDER BY e <-> '[0.9,2,3]' LIMIT 2;
SELECT seen();

-- Functions about indexes run as the owner, with a safe search_path
SET search_path = public, trap;
SET trap.entry = 'ivf_check';
SELECT ivf_check(i, true) -> 'live' AS live FROM unnest('{trap.t_all,trap.t_plain,trap.t_lists}'::regclass[]) i;
SET trap.entry = 'ivf_recall';
SELECT ivf_recall(i, 5, 5) -> 'queries' AS queries FROM unnest('{trap.t_all,trap.t_plain,trap.t_lists}'::regclass[]) i;
SET trap.entry = 'ivf_recalibrate';
SELECT ivf_recalibrate(i) -> 'queries' AS queries FROM unnest('{trap.t_all,trap.t_plain,trap.t_lists}'::regclass[]) i;
SET trap.entry = 'ivf_maintain';
SELECT ivf_maintain(i, true) -> 'rows' AS rows FROM unnest('{trap.t_all,trap.t_plain,trap.t_lists}'::regclass[]) i;
SELECT seen();
SET trap.entry = 'ivf_recalibrate for queries';
SELECT ivf_recalibrate('trap.t_lists', (SELECT array_agg(e) FROM trap.t)) -> 'queries' AS queries;
SET trap.entry = 'ivf_index_info';
SELECT ivf_index_info('trap.t_all') -> 'live_rows' AS live_rows;
SELECT seen();
SELECT current_user = session_user AS user, current_setting('search_path') AS path;
RESET search_path;

-- What functions cannot do in this operation
SET trap.entry = 'escape';
SELECT ivf_check('trap.t_all', true) -> 'live' AS live;
SELECT what, who, path = 'done' AS done FROM trap.seen WHERE what ~ '[A-Z]' ORDER BY what;
SELECT current_user = session_user AS user, current_setting('search_path') AS path, current_setting('ivf.probes') AS probes;
SELECT rolsuper FROM pg_roles WHERE rolname = 'ivf_owner';
TRUNCATE trap.seen;
SELECT ivf_recall('trap.t_all', 5, 5) -> 'queries' AS queries;
SELECT who, path = 'done' AS done, count(*) FROM trap.seen WHERE what ~ '[A-Z]' GROUP BY 1, 2 ORDER BY 2;
TRUNCATE trap.seen;
SELECT ivf_recalibrate('trap.t_all') -> 'queries' AS queries;
SELECT ivf_maintain('trap.t_all', true) -> 'rows' AS rows;
SELECT who, path = 'done' AS done, count(*) FROM trap.seen WHERE what ~ '[A-Z]' GROUP BY 1, 2 ORDER BY 2;
SELECT current_user = session_user AS user, current_setting('search_path') AS path;
SELECT count(*) > 0 AS seen FROM seen();

-- After an error in it the caller's user and settings are restored
SET trap.entry = 'error';
DO $$
DECLARE command text; before text := concat(current_user, current_setting('search_path'));
BEGIN
    FOREACH command IN ARRAY ARRAY['ivf_check(''trap.t_all'', true)', 'ivf_recall(''trap.t_all'')', 'ivf_recalibrate(''trap.t_all'')', 'ivf_maintain(''trap.t_all'', true)'] LOOP
        BEGIN
            EXECUTE 'SELECT ' || command;
            RAISE EXCEPTION '% has run no function', command;
        EXCEPTION WHEN raise_exception THEN
            RAISE NOTICE '%: %, %', command, SQLERRM, before = concat(current_user, current_setting('search_path'));
        END;
    END LOOP;
END $$;
SELECT ivf_check('trap.t_all', true);
SELECT current_user = session_user AS user, current_setting('search_path') AS path;
-- A failed concurrent build leaves an invalid index
CREATE INDEX CONCURRENTLY t_invalid ON trap.t USING ivf (e, (trap.key(id)));
SET trap.entry = 'ivf_check';
SELECT ivf_check('trap.t_invalid');
SELECT ivf_index_info('trap.t_invalid');
SELECT ivf_recall('trap.t_invalid');
SELECT ivf_recalibrate('trap.t_invalid');
SELECT ivf_maintain('trap.t_invalid');
DROP INDEX trap.t_invalid;

-- Inserts run as the inserting user, VACUUM as the owner.
GRANT INSERT ON trap.t TO ivf_guest;
SET ROLE ivf_guest;
SET trap.entry = 'INSERT';
INSERT INTO trap.t SELECT i, format('[%s,%s,%s]', i % 3, i % 2, i)::vector FROM generate_series(301, 600) i;
SET trap.entry = 'COPY';
COPY trap.t FROM stdin;
601	[1,2,3]
\.
RESET ROLE;
SELECT seen();
SET trap.entry = 'VACUUM';
REINDEX INDEX trap.t_lists;
INSERT INTO trap.t SELECT i, format('[%s,%s,%s]', i % 3, i % 2, i)::vector FROM generate_series(602, 1500) i;
CREATE TEMP TABLE before AS SELECT ivf_index_info('trap.t_lists') -> 'calibration' AS calibration;
SELECT count(*) > 0 AS seen FROM seen();
VACUUM trap.t;
SELECT calibration <> ivf_index_info('trap.t_lists') -> 'calibration' AS calibrated FROM before;
SELECT seen();
DROP TABLE before;

-- Who may call the functions
SET trap.entry = 'ivf_guest';
SET ROLE ivf_guest;
SELECT ivf_index_info('trap.t_all');
SELECT ivf_recall('trap.t_all');
SELECT ivf_recalibrate('trap.t_all');
SELECT ivf_recalibrate('trap.t_all', ARRAY['[1,2,3]'::vector]);
SELECT ivf_maintain('trap.t_all');
SELECT ivf_check('trap.t_all');
RESET ROLE;
-- SELECT on the columns of the index is enough
CREATE INDEX t_e ON trap.t USING ivf (e);
CREATE INDEX t_part ON trap.t USING ivf (e) WHERE id > 5;
GRANT SELECT (e) ON trap.t TO ivf_guest;
SET ROLE ivf_guest;
SELECT ivf_index_info('trap.t_e') -> 'live_rows' AS live_rows, ivf_recall('trap.t_e', 5, 5) -> 'queries' AS queries;
SELECT ivf_index_info('trap.t_part');
SELECT ivf_recall('trap.t_all');
RESET ROLE;
GRANT SELECT ON trap.t TO ivf_guest;
SET ROLE ivf_guest;
SELECT ivf_index_info('trap.t_all') -> 'live_rows' AS live_rows, ivf_recall('trap.t_all', 5, 5) -> 'queries' AS queries;
SELECT ivf_recalibrate('trap.t_all');
RESET ROLE;
SELECT seen();
-- Row-level security that hides rows also hides their number. The owner may know it, and its recall is that of its own queries.
ALTER TABLE trap.t ENABLE ROW LEVEL SECURITY;
SET ROLE ivf_guest;
SELECT ivf_index_info('trap.t_all');
SELECT ivf_recall('trap.t_all');
SET ROLE ivf_owner;
SELECT ivf_index_info('trap.t_all') -> 'live_rows' AS live_rows, ivf_recall('trap.t_all', 5, 5) -> 'queries' AS queries;
ALTER TABLE trap.t FORCE ROW LEVEL SECURITY;
SELECT ivf_index_info('trap.t_all') -> 'live_rows' AS live_rows;
SELECT ivf_recall('trap.t_all', 5, 5);
SELECT (ivf_recalibrate('trap.t_all') ->> 'queries')::int > 300 AS queries;
RESET ROLE;
SELECT ivf_recall('trap.t_all', 5, 5) -> 'queries' AS queries;
ALTER TABLE trap.t NO FORCE ROW LEVEL SECURITY;
ALTER TABLE trap.t DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON trap.t FROM ivf_guest;
-- Roles that monitor, and roles that were granted the verifier
GRANT pg_stat_scan_tables TO ivf_guest;
GRANT EXECUTE ON FUNCTION ivf_check TO ivf_guest;
SET ROLE ivf_guest;
SELECT ivf_index_info('trap.t_all') -> 'live_rows' AS live_rows, ivf_check('trap.t_all', true) -> 'live' AS live;
SELECT ivf_recall('trap.t_all');
RESET ROLE;
REVOKE pg_stat_scan_tables FROM ivf_guest;
REVOKE EXECUTE ON FUNCTION ivf_check FROM ivf_guest;
SELECT seen();

-- Counters of a scan are shown to users who have the rights of the role as which it ran
SELECT count(*) FROM (SELECT id FROM trap.t ORDER BY e <-> '[1,2,3]' LIMIT 5) s;
SELECT (ivf_last_scan() ->> 'codes')::int > 0 AS told;
SET ROLE ivf_guest;
SELECT (ivf_last_scan() ->> 'codes')::int > 0 AS told;
RESET ROLE;

-- Calibration and maintenance write
BEGIN READ ONLY;
SELECT ivf_recalibrate('trap.t_all');
ROLLBACK;
BEGIN READ ONLY;
SELECT ivf_recalibrate('trap.t_all', ARRAY['[1,2,3]'::vector]);
ROLLBACK;
BEGIN READ ONLY;
SELECT ivf_maintain('trap.t_all');
ROLLBACK;

-- Relations that are no index with rows
CREATE TABLE trap.parts (e vector(3)) PARTITION BY LIST (vector_dims(e));
CREATE INDEX parts_e ON trap.parts USING ivf (e);
CREATE FUNCTION complaint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text; BEGIN EXECUTE 'SELECT ' || call; RETURN 'done'; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, SQLERRM || '.', hint); END $$;
SELECT f, complaint(format('%s(%L::regclass)', f, o)) FROM unnest('{ivf_index_info,ivf_check,ivf_recall,ivf_recalibrate,ivf_maintain}'::text[]) f,
    unnest('{trap.t,trap.t_pkey,trap.parts_e,trap.parts,2147483647}'::text[]) o;
-- Nobody waits for a lock on a relation without having rights on it
SET ROLE ivf_guest;
SELECT f, complaint(format('%s(%L::regclass)', f, o)) FROM unnest('{ivf_index_info,ivf_recall,ivf_recalibrate,ivf_maintain}'::text[]) f,
    unnest('{trap.t,trap.t_pkey,trap.parts_e}'::text[]) o;
RESET ROLE;

-- EXPLAIN does not reveal where rows are that row-level security hides
CREATE TABLE trap.hidden AS SELECT i AS id, CASE WHEN i % 10 > 0 THEN 'ivf_guest' ELSE 'ivf_owner' END AS owner,
    (SELECT array_agg(CASE WHEN i % 10 > 0 THEN sin(i * x) ELSE 10 + cos(i * x) END) FROM generate_series(1, 8) x)::vector(8) AS e
    FROM generate_series(1, 5000) i;
CREATE INDEX ON trap.hidden USING ivf (e) WITH (lists = 20);
ANALYZE trap.hidden;
ALTER TABLE trap.hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON trap.hidden USING (owner = current_user);
GRANT USAGE ON SCHEMA trap TO ivf_guest;
GRANT SELECT ON trap.hidden TO ivf_guest;
CREATE FUNCTION expected(place text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE plan jsonb; BEGIN
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT id FROM trap.hidden WHERE e <-> %L < 3 ORDER BY e <-> %L', place, place) INTO plan;
    RETURN concat_ws(' ', plan -> 0 -> 'Plan' -> 'Plan Rows', plan -> 0 -> 'Plan' -> 'Total Cost'); END $$;
SELECT expected('[10,10,10,10,10,10,10,10]') = expected('[30,30,30,30,30,30,30,30]') AS told_the_owner;
SET ROLE ivf_guest;
SELECT expected('[10,10,10,10,10,10,10,10]') = expected('[30,30,30,30,30,30,30,30]') AS alike;
RESET ROLE;
DROP FUNCTION expected;

-- The same for partitions and inheritance children whose parent has the policy
CREATE TABLE trap.parent (id int, owner text, e vector(8)) PARTITION BY RANGE (id);
CREATE TABLE trap.part PARTITION OF trap.parent FOR VALUES FROM (1) TO (5001);
INSERT INTO trap.parent SELECT * FROM trap.hidden;
CREATE INDEX ON trap.part USING ivf (e) WITH (lists = 20);
CREATE TABLE trap.base (id int, owner text, e vector(8));
CREATE TABLE trap.child () INHERITS (trap.base);
INSERT INTO trap.child SELECT * FROM trap.hidden;
CREATE INDEX ON trap.child USING ivf (e) WITH (lists = 20);
ANALYZE trap.part;
ANALYZE trap.child;
ALTER TABLE trap.parent ENABLE ROW LEVEL SECURITY;
ALTER TABLE trap.base ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON trap.parent USING (owner = current_user);
CREATE POLICY own ON trap.base USING (owner = current_user);
GRANT SELECT ON trap.parent, trap.base TO ivf_guest;
CREATE FUNCTION expected_of(relation text, place text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE plan text; BEGIN
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT id FROM %s WHERE e <-> %L < 3 ORDER BY e <-> %L', relation, place, place) INTO plan;
    RETURN replace(plan, place, ''); END $$;
SELECT r, expected_of(r, '[10,10,10,10,10,10,10,10]') = expected_of(r, '[30,30,30,30,30,30,30,30]') AS told_the_owner
    FROM unnest('{trap.parent,trap.base}'::text[]) r;
SET ROLE ivf_guest;
SELECT r, expected_of(r, '[10,10,10,10,10,10,10,10]') = expected_of(r, '[30,30,30,30,30,30,30,30]') AS alike
    FROM unnest('{trap.parent,trap.base}'::text[]) r;
RESET ROLE;
DROP FUNCTION expected_of;

SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
DROP FUNCTION seen, complaint;
DROP ROLE ivf_owner, ivf_guest;
