-- The access method ivf, its operator classes and the functions about its indexes.

CREATE FUNCTION ivfhandler(internal) RETURNS index_am_handler
    AS 'MODULE_PATHNAME', 'ivfhandler_wrapper' LANGUAGE C;

CREATE ACCESS METHOD ivf TYPE INDEX HANDLER ivfhandler;

COMMENT ON ACCESS METHOD ivf IS 'inverted file of quantized vectors, ordered by distance';

-- Support function 1 of an operator class: what an index is over, and the metric that it orders by.

CREATE FUNCTION ivf_l2_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_l2_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_cosine_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_cosine_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_ip_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_ip_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_l2_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_l2_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_cosine_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_cosine_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_ip_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_ip_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_bit_hamming_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_bit_hamming_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_bit_jaccard_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_bit_jaccard_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_l2_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l2_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_cosine_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_cosine_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_ip_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_ip_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_vector_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_vector_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_l2_ops
    DEFAULT FOR TYPE vector USING ivf AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) ivf_l2_metric();

CREATE OPERATOR CLASS vector_cosine_ops
    FOR TYPE vector USING ivf AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) ivf_cosine_metric();

CREATE OPERATOR CLASS vector_ip_ops
    FOR TYPE vector USING ivf AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) ivf_ip_metric();

CREATE OPERATOR CLASS halfvec_l2_ops
    DEFAULT FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec, halfvec) ivf_halfvec_l2_metric();

CREATE OPERATOR CLASS halfvec_cosine_ops
    FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec, halfvec) ivf_halfvec_cosine_metric();

CREATE OPERATOR CLASS halfvec_ip_ops
    FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec, halfvec) ivf_halfvec_ip_metric();

CREATE OPERATOR CLASS bit_hamming_ops
    DEFAULT FOR TYPE bit USING ivf AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 (bit, bit) ivf_bit_hamming_metric();

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

CREATE OPERATOR CLASS vector_maxsim_ops
    DEFAULT FOR TYPE vector[] USING ivf AS
    OPERATOR 1 @# (vector[], vector[]) FOR ORDER BY float_ops,
    FUNCTION 1 (vector[], vector[]) ivf_vector_maxsim_metric();

CREATE OPERATOR CLASS halfvec_maxsim_ops
    DEFAULT FOR TYPE halfvec[] USING ivf AS
    OPERATOR 1 @# (halfvec[], halfvec[]) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec[], halfvec[]) ivf_halfvec_maxsim_metric();

CREATE FUNCTION ivf_index_info(index regclass) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_index_info_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_index_info(regclass) IS 'describes an ivf index: lists, sizes, rows, calibration';

CREATE FUNCTION ivf_last_scan() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_last_scan_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION ivf_last_scan() IS 'what the last ivf index scan of this session read';

CREATE FUNCTION ivf_check(index regclass, heap_all_indexed boolean DEFAULT false) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_check_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_check(regclass, boolean) IS 'verifies every page of an ivf index';

-- Reads the whole table, also rows that the caller may not see.
REVOKE ALL ON FUNCTION ivf_check(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION ivf_recall(index regclass, sample_size int DEFAULT 100, k int DEFAULT 10) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_recall_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_recall(regclass, int, int) IS 'measures the recall of an ivf index against an exact pass over its table';

CREATE FUNCTION ivf_maintain(index regclass, always boolean DEFAULT false) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_maintain_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_maintain(regclass, boolean) IS 'replaces the lists of an ivf index if its rows have changed much, as VACUUM does';

CREATE FUNCTION ivf_recalibrate(index regclass) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_recalibrate_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_recalibrate(regclass) IS 'measures again how many lists each recall target needs, with rows of the table as queries';

CREATE FUNCTION ivf_recalibrate(index regclass, queries vector[]) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_recalibrate_for_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_recalibrate(regclass, vector[]) IS 'measures how many lists each recall target needs for these queries';

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
