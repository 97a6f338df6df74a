-- From 0.2.1 to 0.3.0: the function ivf_maintain, classes for L1 and Jaccard distance and for sparsevec,
-- arithmetic with numbers, late interaction.

CREATE FUNCTION ivf_maintain(index regclass, always boolean DEFAULT false) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_maintain_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_maintain(regclass, boolean) IS 'replaces the lists of an ivf index if its rows have changed much, as VACUUM does';

CREATE FUNCTION ivf_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_bit_jaccard_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_bit_jaccard_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_l1_ops
    FOR TYPE vector USING ivf AS
    OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) ivf_l1_metric();

CREATE OPERATOR CLASS halfvec_l1_ops
    FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec, halfvec) ivf_halfvec_l1_metric();

CREATE OPERATOR CLASS bit_jaccard_ops
    FOR TYPE bit USING ivf AS
    OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 (bit, bit) ivf_bit_jaccard_metric();

CREATE FUNCTION ivf_sparsevec_l2_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l2_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_cosine_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_cosine_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_ip_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_ip_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS sparsevec_l2_ops
    DEFAULT FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_l2_metric();

CREATE OPERATOR CLASS sparsevec_cosine_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_cosine_metric();

CREATE OPERATOR CLASS sparsevec_ip_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_ip_metric();

CREATE OPERATOR CLASS sparsevec_l1_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_l1_metric();

-- What the planner is told about a distance: its cost, and its operator.
CREATE FUNCTION sparsevec_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'sparsevec_distance_support_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

ALTER FUNCTION l2_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION inner_product(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION cosine_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION l1_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

CREATE FUNCTION vector_mul_scalar(vector, real) RETURNS vector
	AS 'MODULE_PATHNAME', 'vector_mul_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION scalar_mul_vector(real, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'scalar_mul_vector_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_div_scalar(vector, real) RETURNS vector
	AS 'MODULE_PATHNAME', 'vector_div_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = real, PROCEDURE = vector_mul_scalar,
	COMMUTATOR = *
);

CREATE OPERATOR * (
	LEFTARG = real, RIGHTARG = vector, PROCEDURE = scalar_mul_vector,
	COMMUTATOR = *
);

CREATE OPERATOR / (
	LEFTARG = vector, RIGHTARG = real, PROCEDURE = vector_div_scalar
);

CREATE FUNCTION halfvec_mul_scalar(halfvec, real) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'halfvec_mul_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION scalar_mul_halfvec(real, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'scalar_mul_halfvec_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_div_scalar(halfvec, real) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'halfvec_div_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR * (
	LEFTARG = halfvec, RIGHTARG = real, PROCEDURE = halfvec_mul_scalar,
	COMMUTATOR = *
);

CREATE OPERATOR * (
	LEFTARG = real, RIGHTARG = halfvec, PROCEDURE = scalar_mul_halfvec,
	COMMUTATOR = *
);

CREATE OPERATOR / (
	LEFTARG = halfvec, RIGHTARG = real, PROCEDURE = halfvec_div_scalar
);

CREATE FUNCTION maxsim(vector[], vector[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION maxsim(vector[], vector[]) IS 'sum, over the vectors of the second array, of the largest inner product with one of the first';

CREATE FUNCTION vector_negative_maxsim(vector[], vector[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'vector_negative_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

CREATE FUNCTION maxsim(halfvec[], halfvec[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'halfvec_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION maxsim(halfvec[], halfvec[]) IS 'sum, over the vectors of the second array, of the largest inner product with one of the first';

CREATE FUNCTION halfvec_negative_maxsim(halfvec[], halfvec[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'halfvec_negative_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

CREATE OPERATOR @# (
	LEFTARG = vector[], RIGHTARG = vector[], PROCEDURE = vector_negative_maxsim
);

CREATE OPERATOR @# (
	LEFTARG = halfvec[], RIGHTARG = halfvec[], PROCEDURE = halfvec_negative_maxsim
);

CREATE FUNCTION ivf_vector_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_vector_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_maxsim_ops
    DEFAULT FOR TYPE vector[] USING ivf AS
    OPERATOR 1 @# (vector[], vector[]) FOR ORDER BY float_ops,
    FUNCTION 1 (vector[], vector[]) ivf_vector_maxsim_metric();

CREATE OPERATOR CLASS halfvec_maxsim_ops
    DEFAULT FOR TYPE halfvec[] USING ivf AS
    OPERATOR 1 @# (halfvec[], halfvec[]) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec[], halfvec[]) ivf_halfvec_maxsim_metric();

-- Filter columns of further types.

CREATE OPERATOR CLASS money_ops
    DEFAULT FOR TYPE money USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

CREATE OPERATOR CLASS bytea_ops
    DEFAULT FOR TYPE bytea USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS inet_ops
    DEFAULT FOR TYPE inet USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS interval_ops
    DEFAULT FOR TYPE interval USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS jsonb_ops
    DEFAULT FOR TYPE jsonb USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS macaddr_ops
    DEFAULT FOR TYPE macaddr USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS macaddr8_ops
    DEFAULT FOR TYPE macaddr8 USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS oid_ops
    DEFAULT FOR TYPE oid USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS timetz_ops
    DEFAULT FOR TYPE timetz USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE FUNCTION ivf_neighbours(index regclass, queries vector[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, vector[], int) IS 'the nearest rows of each vector, by an ivf index';

CREATE FUNCTION ivf_neighbours(index regclass, queries halfvec[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_halfvec_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, halfvec[], int) IS 'the nearest rows of each vector, by an ivf index';

CREATE FUNCTION ivf_neighbours(index regclass, queries bit[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_bit_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, bit[], int) IS 'the nearest rows of each bit string, by an ivf index';

CREATE FUNCTION ivf_neighbour_graph(index regclass, k int DEFAULT 10)
    RETURNS TABLE (item tid, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbour_graph_wrapper' LANGUAGE C STABLE STRICT COST 1000000 ROWS 1000000;

COMMENT ON FUNCTION ivf_neighbour_graph(regclass, int) IS 'the nearest other rows of each row of an ivf index';

CREATE FUNCTION ivf_pairs(index regclass, below float8)
    RETURNS TABLE (item tid, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_pairs_wrapper' LANGUAGE C STABLE STRICT COST 1000000 ROWS 100000;

COMMENT ON FUNCTION ivf_pairs(regclass, float8) IS 'all pairs of rows of an ivf index whose distance is less than a number';

COMMENT ON FUNCTION ivf_recall(regclass, int, int) IS 'measures the recall of an ivf index against an exact pass over its table';
COMMENT ON FUNCTION ivf_recalibrate(regclass) IS 'measures again how many lists each recall target needs, with rows of the table as queries';
COMMENT ON FUNCTION ivf_recalibrate(regclass, vector[]) IS 'measures how many lists each recall target needs for these queries';

-- The nearest rows of a table of foreign tables.
CREATE FUNCTION knn_shards(
    shards regclass, row_type anyelement, embedding name, query anycompatible, k int DEFAULT 10,
    operator text DEFAULT '<->', condition text DEFAULT NULL, below float8 DEFAULT NULL,
    recall_target float8 DEFAULT NULL)
    RETURNS TABLE (item anyelement, distance float8)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 100000 ROWS 10
    SET plan_cache_mode = force_generic_plan
    AS $function$
DECLARE
    caller oid := pg_catalog.quote_ident(current_user)::pg_catalog.regrole::oid;
    dblink text;             -- its schema
    value text;              -- the distance
    wanted text;             -- the row type's columns: "id", "body"
    places text;             -- the same in results: r.c1, r.c2
    declared text;           -- columns of results: d float8, c1 bigint, c2 text
    wanted_type text;
    rest text;               -- of each query, after its FROM
    leaves oid[];
    part record;
    servers oid[] := '{}';   -- servers, their connections and queries
    links text[] := '{}';
    queries text[] := '{}';
    here text := '';         -- the query for partitions that are on this server
    send_all text;
    open_links text[];
    -- Before PostgreSQL 17 dblink_get_result cannot be interrupted, and dblink_cancel_query waits forever.
    can_cancel boolean := pg_catalog.current_setting('server_version_num')::int >= 170000;
    reused boolean;
    delivered boolean := false;
    failing oid;
    sent int;
    unsent int;
    waiting boolean;
    began timestamptz;
    state text;
    message text;
    details text;
    context text;
BEGIN
    IF query IS NULL OR k IS NULL OR k < 0 THEN
        RAISE EXCEPTION 'knn_shards needs a query that is not null, and a k of 0 or more'
            USING ERRCODE = '22023';
    END IF;
    -- A shard's session that has not loaded the library yet would take any number, and later ignore it.
    IF recall_target < '0.5'::float8 OR recall_target > '1'::float8 THEN
        RAISE EXCEPTION '% is outside the valid range for parameter "ivf.recall_target" (0.5 .. 1)',
            recall_target USING ERRCODE = '22023';
    END IF;
    IF NOT pg_catalog.has_table_privilege(shards::oid, 'SELECT'::text) THEN
        RAISE EXCEPTION 'permission denied for table %', shards USING ERRCODE = '42501';
    END IF;
    IF pg_catalog.row_security_active(shards::oid) THEN
        RAISE EXCEPTION 'table % has row-level security, which its shards would not apply', shards
            USING ERRCODE = '0A000', HINT = 'Create the policies in the shards.';
    END IF;
    SELECT pg_catalog.quote_ident(n.nspname) INTO dblink
        FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'dblink';
    IF dblink IS NULL THEN
        RAISE EXCEPTION 'knn_shards needs the extension dblink' USING ERRCODE = '55000',
            HINT = 'CREATE EXTENSION dblink;';
    END IF;

    -- The operator must be one of this extension: a shard then has it too, in the same schema.
    SELECT pg_catalog.format('%I OPERATOR(%I.%s) %L::%I.%I', embedding,
               (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = o.oprnamespace), o.oprname,
               query::text, (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = t.typnamespace),
               t.typname)
        INTO value
        FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            JOIN pg_catalog.pg_operator o
                ON o.oprname = operator::name AND o.oprleft = t.oid AND o.oprright = t.oid
        WHERE a.attrelid = shards::oid AND a.attname = embedding AND a.attnum > 0
            AND o.oprresult = 'pg_catalog.float8'::pg_catalog.regtype::oid
            AND (SELECT e.extname
                 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                 WHERE d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass::oid AND d.objid = o.oid
                     AND d.deptype = 'e') = 'vector_search';
    IF value IS NULL THEN
        RAISE EXCEPTION 'table % has no column "%" with an operator % of vector_search',
            shards, embedding, operator USING ERRCODE = '42883';
    END IF;

    SELECT pg_catalog.format('%I.%I', n.nspname, t.typname) INTO wanted_type
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE t.oid = pg_catalog.pg_typeof(row_type)::oid AND t.typtype = 'c';
    IF wanted_type IS NULL THEN
        RAISE EXCEPTION 'type % is not a row type', pg_catalog.pg_typeof(row_type) USING ERRCODE = '42809',
            HINT = 'Pass NULL of the type of a table, or of a type made by CREATE TYPE ... AS.';
    END IF;
    FOR part IN
        SELECT a.attname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
        WHERE t.oid = pg_catalog.pg_typeof(row_type)::oid AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b
                            WHERE b.attrelid = shards::oid AND b.attname = a.attname AND b.attnum > 0)
    LOOP
        RAISE EXCEPTION 'table % has no column "%", which type % has', shards, part.attname, wanted_type
            USING ERRCODE = '42703';
    END LOOP;
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum),
           pg_catalog.string_agg(pg_catalog.format('r.c%s', a.attnum), ', ' ORDER BY a.attnum),
           'd pg_catalog.float8, ' OPERATOR(pg_catalog.||)
           pg_catalog.string_agg(pg_catalog.format('c%s %I.%I', a.attnum, n.nspname, t.typname), ', '
                                 ORDER BY a.attnum)
        INTO wanted, places, declared
        FROM pg_catalog.pg_type r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.typrelid
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE r.oid = pg_catalog.pg_typeof(row_type)::oid AND a.attnum > 0 AND NOT a.attisdropped;

    -- A comment at the end of the condition must not hide the parenthesis.
    rest := pg_catalog.format(E'WHERE (%s\n)%s ORDER BY %s LIMIT %s', coalesce(condition, 'true'),
        CASE WHEN below IS NOT NULL
             THEN pg_catalog.format(' AND %s OPERATOR(pg_catalog.<) %L::pg_catalog.float8', value, below)
             ELSE '' END,
        value, k);
    SELECT coalesce(pg_catalog.array_agg(t.relid::oid), ARRAY[shards::oid]) INTO leaves
        FROM pg_catalog.pg_partition_tree(shards) t WHERE t.isleaf;
    FOR part IN
        SELECT l.relid, s.oid AS server, f.ftrelid IS NOT NULL AS is_foreign,
               p.proname = 'postgres_fdw_handler' AS is_postgres,
               CASE WHEN f.ftrelid IS NULL THEN pg_catalog.format('%I.%I', n.nspname, c.relname) ELSE
                   pg_catalog.format('(SELECT %s FROM %I.%I)',
                       (SELECT pg_catalog.string_agg(pg_catalog.format('%I AS %I', coalesce(
                               (SELECT o.option_value FROM pg_catalog.pg_options_to_table(a.attfdwoptions) o
                                WHERE o.option_name = 'column_name'), a.attname::text), a.attname), ', ')
                        FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                       coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(f.ftoptions) o
                                 WHERE o.option_name = 'schema_name'), n.nspname::text),
                       coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(f.ftoptions) o
                                 WHERE o.option_name = 'table_name'), c.relname::text))
               END AS source,
               -- Another option of the server or of the user makes another connection.
               pg_catalog.format('knn_shards %s %s %s', s.oid, caller, pg_catalog.hashtextextended(
                   pg_catalog.format('%s %s', s.srvoptions,
                       (SELECT m.umoptions FROM pg_catalog.pg_user_mappings m
                        WHERE m.srvid = s.oid AND m.umuser = caller)), 0)) AS link
        FROM pg_catalog.unnest(leaves) AS l (relid)
            JOIN pg_catalog.pg_class c ON c.oid = l.relid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
            LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
            LEFT JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
            LEFT JOIN pg_catalog.pg_proc p ON p.oid = w.fdwhandler
    LOOP
        message := pg_catalog.format('(SELECT %s AS d, %s FROM %s AS %I %s)', value, wanted, part.source,
            (SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = shards::oid), rest);
        IF NOT part.is_foreign THEN
            here := pg_catalog.concat(here, ' UNION ALL ', message);
        ELSIF part.is_postgres IS NOT TRUE THEN
            RAISE EXCEPTION 'foreign table % is not one of postgres_fdw', part.relid::pg_catalog.regclass
                USING ERRCODE = '0A000';
        ELSIF pg_catalog.array_position(servers, part.server) IS NULL THEN
            servers := pg_catalog.array_append(servers, part.server);
            links := pg_catalog.array_append(links, part.link);
            queries := pg_catalog.array_append(queries, message);
        ELSE
            sent := pg_catalog.array_position(servers, part.server);
            queries[sent] := pg_catalog.concat(queries[sent], ' UNION ALL ', message);
        END IF;
    END LOOP;
    IF recall_target IS NOT NULL THEN
        FOR i IN 1 .. pg_catalog.cardinality(queries) LOOP
            queries[i] := pg_catalog.format('SET LOCAL ivf.recall_target = %s; %s', recall_target,
                queries[i]);
        END LOOP;
    END IF;

    -- Sends nothing if a connection is not there. Returns how many queries it sends, and which one it cannot.
    send_all := pg_catalog.format('SELECT pg_catalog.count(*),
            pg_catalog.min(CASE %1$s.dblink_send_query(u.l, u.q) WHEN 0 THEN u.i END)
        FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY AS u (l, q, i)
        WHERE $1 OPERATOR(pg_catalog.<@) %1$s.dblink_get_connections()', dblink);
    FOR attempt IN 1 .. 2 LOOP
        BEGIN
            EXECUTE send_all INTO sent, unsent USING links, queries;
            reused := sent > 0;
            IF sent = 0 THEN
                EXECUTE pg_catalog.format('SELECT coalesce(%s.dblink_get_connections(), ''{}'')', dblink)
                    INTO open_links;
                FOR i IN 1 .. pg_catalog.cardinality(links) LOOP
                    IF links[i] = ANY (open_links) THEN
                        reused := true;
                        CONTINUE;
                    END IF;
                    failing := servers[i];
                    -- Those with earlier options of the server.
                    EXECUTE pg_catalog.format('SELECT pg_catalog.count(%s.dblink_disconnect(l))
                        FROM pg_catalog.unnest($1) l WHERE pg_catalog.starts_with(l, $2)', dblink)
                        USING open_links, pg_catalog.rtrim(links[i], '-0123456789');
                    EXECUTE pg_catalog.format('SELECT %1$s.dblink_connect($1, s.srvname), %1$s.dblink_exec($1,
                            ''SET extra_float_digits = 3; SET default_transaction_read_only = on'')
                        FROM pg_catalog.pg_foreign_server s WHERE s.oid = $2', dblink)
                        USING links[i], servers[i];
                END LOOP;
                failing := NULL;
                EXECUTE send_all INTO sent, unsent USING links, queries;
            END IF;
            IF unsent IS NOT NULL THEN
                failing := servers[unsent];
                RAISE EXCEPTION 'could not send a query' USING ERRCODE = '08006';
            END IF;
            FOR answer IN REVERSE CASE WHEN recall_target IS NULL THEN 1 ELSE 2 END .. 1 LOOP
                -- pg_sleep takes a millisecond or more, so a short wait is busy.
                began := pg_catalog.clock_timestamp();
                waiting := NOT can_cancel;
                WHILE waiting LOOP
                    EXECUTE pg_catalog.format('SELECT pg_catalog.bool_or(%s.dblink_is_busy(l) = 1)
                        FROM pg_catalog.unnest($1) l', dblink) INTO waiting USING links;
                    IF waiting AND pg_catalog.clock_timestamp() - began > interval '1 ms' THEN
                        PERFORM pg_catalog.pg_sleep(0.001);
                    END IF;
                END LOOP;
                IF answer = 2 THEN
                    EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM pg_catalog.unnest($1) l,
                        LATERAL %s.dblink_get_result(l) AS t (status text)', dblink) USING links;
                ELSE
                    -- A connection is ready for its next query when it has no more results.
                    RETURN QUERY EXECUTE pg_catalog.format('SELECT ROW(%1$s)::%2$s, r.d FROM (
                            SELECT t.d, %3$s FROM pg_catalog.unnest($1) l, LATERAL ROWS FROM (
                                %4$s.dblink_get_result(l) AS (%5$s),
                                %4$s.dblink_get_result(l) AS (nothing text)) AS t%6$s
                        ) AS r (d, %7$s) ORDER BY r.d LIMIT %8$s', places, wanted_type,
                        pg_catalog.replace(places, 'r.', 't.'), dblink, declared, here,
                        pg_catalog.replace(places, 'r.', ''), k) USING links;
                    delivered := true;
                END IF;
            END LOOP;
            EXIT;
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                details = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
            -- First the queries end, for which nobody waits any more. Then the connections.
            EXECUTE pg_catalog.format('SELECT pg_catalog.count(pg_catalog.concat(
                    CASE WHEN $2 AND %1$s.dblink_is_busy(l) = 1 THEN %1$s.dblink_cancel_query(l) END,
                    %1$s.dblink_disconnect(l)))
                FROM pg_catalog.unnest(%1$s.dblink_get_connections()) l WHERE l = ANY ($1)', dblink)
                USING links, can_cancel;
            IF attempt = 1 AND reused AND NOT delivered
                AND (state LIKE '08%' OR state IN ('57P01', '57P02', '57P03')) THEN
                CONTINUE; -- The connection was of a server that has restarted.
            END IF;
            failing := coalesce(failing, pg_catalog.substring(context, 'knn_shards ([0-9]+)')::oid);
            IF failing IS NULL THEN
                RAISE;
            END IF;
            RAISE EXCEPTION '%', pg_catalog.concat_ws(': ', pg_catalog.format('server "%s"',
                    (SELECT s.srvname FROM pg_catalog.pg_foreign_server s WHERE s.oid = failing)),
                message, nullif(details, '')) USING ERRCODE = state;
        END;
    END LOOP;
    -- Else somebody who may not be the current user could use its connections by their names.
    IF current_user <> session_user THEN
        EXECUTE pg_catalog.format('SELECT pg_catalog.count(%s.dblink_disconnect(l))
            FROM pg_catalog.unnest($1) l', dblink) USING links;
    END IF;
END $function$;

COMMENT ON FUNCTION knn_shards(regclass, anyelement, name, anycompatible, int, text, text, float8, float8) IS 'the nearest rows of a table of foreign tables, from all servers at once';
