-- Converting values to keys of filter columns leaks no memory, for any type: in builds, inserts, checks and rescans.
CREATE SCHEMA leaks;
SET search_path = leaks, public;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN amount AS numeric(12, 3);
CREATE TABLE used (at serial, id int, bytes bigint);
-- Stores the memory of this backend at two rows: long after the first row, and at the end
CREATE FUNCTION note(i int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF i IN (1000, 6000) THEN
        INSERT INTO leaks.used (id, bytes) SELECT i, sum(used_bytes) FROM pg_backend_memory_contexts;
    END IF;
    RETURN i;
END $$;
CREATE FUNCTION noted(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN leaks.note(i); END';
-- Memory that was leaked between the two, in bytes per row
CREATE FUNCTION left_behind() RETURNS text LANGUAGE sql AS $$
    WITH last AS (SELECT id, bytes, row_number() OVER (PARTITION BY id ORDER BY at DESC) AS n FROM leaks.used),
        gone AS (SELECT max(bytes) FILTER (WHERE id = 6000) - max(bytes) FILTER (WHERE id = 1000) AS bytes FROM last WHERE n = 1)
    SELECT CASE WHEN bytes / 5000 < 10 THEN 'nothing' ELSE bytes / 5000 || ' bytes a row' END FROM gone $$;
CREATE FUNCTION word(i int) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'word ' || i $$;
-- Long values are compressed, so that each must be detoasted first
CREATE TABLE t (id int, n numeric, m amount, s text, long text, v varchar(30), c char(30), u uuid, b mood, labels text[], numbers numeric[], many text[], e vector(2));
INSERT INTO t SELECT i, i / 7.0, i / 3.0, word(i), repeat(word(i), 400), word(i), word(i), md5(i::text)::uuid, (ARRAY['sad', 'happy'])[1 + i % 2]::mood,
    ARRAY[word(i), word(i + 1)], ARRAY[i, i / 7.0], array_fill(word(i), ARRAY[300]), format('[%s,%s]', i, i % 9)::vector FROM generate_series(1, 6000) i;
CREATE TABLE filled (LIKE t);
SET ivf.recall_target = 1;

CREATE FUNCTION leaks(columns text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text := columns; condition text;
BEGIN
    EXECUTE format('CREATE INDEX by_build ON leaks.t USING ivf (e, (leaks.noted(id)), %s) WITH (lists = 1)', columns);
    answer := answer || ': build ' || leaks.left_behind();
    TRUNCATE leaks.used;
    PERFORM ivf_check('leaks.by_build', true);
    answer := answer || ', check ' || leaks.left_behind();
    TRUNCATE leaks.used;
    EXECUTE format('CREATE INDEX by_insert ON leaks.filled USING ivf (e, (leaks.noted(id)), %s) WITH (lists = 1)', columns);
    INSERT INTO leaks.filled SELECT * FROM leaks.t;
    answer := answer || ', inserts ' || leaks.left_behind();
    TRUNCATE leaks.used, leaks.filled;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
    SELECT string_agg(CASE WHEN c ~ 'labels|numbers|many' THEN format('i.%s @> o.%1$s', c) ELSE format('i.%s = o.%1$s', c) END, ' AND ')
        INTO condition FROM regexp_split_to_table(columns, ', ') c;
    EXECUTE format('SELECT count(*) FROM (SELECT *, leaks.note(id) FROM leaks.t OFFSET 0) o,
        LATERAL (SELECT e FROM leaks.filled i WHERE %s ORDER BY i.e <-> o.e LIMIT 1) l', condition);
    answer := answer || ', rescans ' || leaks.left_behind();
    DROP INDEX leaks.by_build, leaks.by_insert;
    TRUNCATE leaks.used;
    RETURN answer;
END $$;
SELECT leaks(c) FROM unnest('{id,"n, m",s,long,"v, c",u,b,labels,numbers,many}'::text[]) c;
-- Lists of a rescan
CREATE INDEX filled_i ON filled USING ivf (e, n, s, b);
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT *, note(id) FROM t OFFSET 0) o,
    LATERAL (SELECT e FROM filled i WHERE n = ANY(o.numbers) AND s = ANY(o.many) AND b = ANY(ARRAY[o.b, 'sad']) ORDER BY i.e <-> o.e LIMIT 1) l;
SELECT left_behind();
SET client_min_messages = warning;
DROP SCHEMA leaks CASCADE;
