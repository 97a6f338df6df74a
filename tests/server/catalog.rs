//! Our functions, aggregates, operators, types, casts and operator classes have the same properties in the
//! catalogs as pgvector's. Skipped where the server has no pgvector.

use crate::compat;
use crate::harness::Server;
use crate::pgvector::has_pgvector;
use std::collections::BTreeSet;

/// One line for each object of the extensions `ours` and `theirs`, with names instead of OIDs and without
/// schemas.
const LINES: &str = r"
CREATE VIEW public.lines AS
WITH member AS (SELECT nspname, classid, objid FROM pg_depend d JOIN pg_extension x ON refobjid = x.oid
    JOIN pg_namespace n ON n.oid = extnamespace
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'),
line AS (
SELECT nspname, concat_ws(' ', 'function', proname || '(' || pg_get_function_identity_arguments(p.oid) ||
    ')', pg_get_function_result(p.oid),
    prokind, provolatile, proisstrict, proparallel, proleakproof, prosecdef, proretset, procost, prorows,
    proconfig,
    obj_description(p.oid, 'pg_proc')) AS text
    FROM pg_proc p JOIN member ON classid = 'pg_proc'::regclass AND objid = p.oid
UNION ALL SELECT nspname, concat_ws(' ', 'aggregate', aggfnoid::regprocedure, aggkind,
    aggtransfn::regprocedure, aggfinalfn::regprocedure,
    aggcombinefn::regprocedure, aggserialfn, aggtranstype::regtype, agginitval, aggfinalmodify, aggfinalextra)
    FROM pg_aggregate JOIN member ON classid = 'pg_proc'::regclass AND objid = aggfnoid
UNION ALL SELECT nspname, concat_ws(' ', 'operator', oprname, oprleft::regtype, oprright::regtype,
    oprresult::regtype, oprcode::regprocedure,
    oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin, obj_description(o.oid, 'pg_operator'))
    FROM pg_operator o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
UNION ALL SELECT nspname, concat_ws(' ', 'type', typname, typlen, typbyval, typtype, typcategory,
    typispreferred, typdelim, typinput, typoutput,
    typreceive, typsend, typmodin, typmodout, typalign, typstorage, typsubscript, typdefault,
    typarray::regtype, obj_description(t.oid, 'pg_type'))
    FROM pg_type t JOIN member ON classid = 'pg_type'::regclass AND objid = t.oid
UNION ALL SELECT nspname, concat_ws(' ', 'cast', castsource::regtype, casttarget::regtype,
    castfunc::regprocedure, castcontext, castmethod)
    FROM pg_cast c JOIN member ON classid = 'pg_cast'::regclass AND objid = c.oid
UNION ALL SELECT nspname, concat_ws(' ', 'class', amname, opcname, opcintype::regtype, opcdefault,
    opckeytype::regtype)
    FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod JOIN member ON classid = 'pg_opclass'::regclass
    AND objid = c.oid
UNION ALL SELECT nspname, concat_ws(' ', 'strategy', amname, opfname, amoplefttype::regtype,
    amoprighttype::regtype, amopstrategy, amoppurpose,
    amopopr::regoperator, (SELECT s.opfname FROM pg_opfamily s WHERE s.oid = amopsortfamily))
    FROM pg_amop JOIN pg_opfamily f ON f.oid = amopfamily JOIN pg_am a ON a.oid = opfmethod
    JOIN member ON classid = 'pg_opfamily'::regclass AND objid = f.oid
UNION ALL SELECT nspname, concat_ws(' ', 'method', amname, amtype) FROM pg_am a JOIN member
    ON classid = 'pg_am'::regclass AND objid = a.oid)
SELECT nspname, replace(text, nspname || '.', '') AS text FROM line;
";

fn lines(server: &Server, schemas: &str) -> BTreeSet<String> {
    let text = server.sql(&format!("SELECT text FROM public.lines WHERE nspname IN ({schemas})"));
    text.lines().map(str::to_owned).collect()
}

fn kind(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

#[test]
fn every_object_of_pgvectors_is_there() {
    let server = Server::new("catalog", &["fsync = off"]);
    if !has_pgvector(&server) {
        return;
    }
    server.sql(
        "CREATE SCHEMA ours; CREATE SCHEMA theirs; ALTER EXTENSION vector_search SET SCHEMA ours; \
         CREATE EXTENSION vector SCHEMA theirs",
    );
    server.sql(LINES);
    let theirs = lines(&server, "'theirs'");
    assert!(theirs.len() > 250, "{}", theirs.len());
    // The access methods and what belongs to them are compared below: both cannot be in one database.
    let of_methods = |line: &String| {
        [
            "class hnsw",
            "class ivfflat",
            "strategy hnsw",
            "strategy ivfflat",
            "method",
            "function hnsw",
            "function ivfflat",
        ]
        .iter()
        .any(|start| line.starts_with(start))
    };
    // `<>` is estimated as an inequality (pgvector: as an equality).
    let expected: BTreeSet<String> = theirs
        .into_iter()
        .filter(|line| !of_methods(line))
        .map(|line| match line.starts_with("operator <> ") {
            true => line.replace("eqsel eqjoinsel", "neqsel neqjoinsel"),
            false => line,
        })
        .collect();
    let ours = lines(&server, "'ours'");
    let missing: Vec<&String> = expected.difference(&ours).collect();
    assert!(missing.is_empty(), "{} missing: {missing:#?}", missing.len());
    // Objects that only our extension has: each has a name that pgvector does not use, or belongs to our
    // access method or to hashing.
    let more: Vec<&String> = ours.difference(&expected).collect();
    let known = [
        "ivf",
        "hash",
        "_ops",
        "typanalyze",
        "distance_support",
        "_scalar",
        "scalar_mul_",
        "maxsim",
        "knn_shards",
    ];
    let unknown: Vec<_> = more.iter().filter(|line| !known.iter().any(|word| line.contains(word))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    // Operators with a number, and of arrays.
    let of_no_own_types = |line: &str| [" real ", "operator @# "].iter().any(|part| line.contains(part));
    assert!(
        more.iter().all(|line| match kind(line) {
            "operator" => of_no_own_types(line),
            kind => !["type", "cast", "aggregate"].contains(&kind),
        }),
        "{more:#?}"
    );
}

/// Statements about indexes, most of them wrong.
const STATEMENTS: [&str; 32] = [
    "CREATE INDEX ON t USING hnsw (v)",
    "CREATE INDEX ON t USING hnsw (n vector_l2_ops)",
    "CREATE INDEX ON t USING ivfflat (n)",
    "CREATE INDEX ON t USING ivfflat (h)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 1)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 101)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 'x')",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 40)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 3)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 1001)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (lists = 1)",
    "CREATE INDEX ON t USING ivfflat (v) WITH (lists = 0)",
    "CREATE INDEX ON t USING ivfflat (v) WITH (lists = 32769)",
    "CREATE INDEX ON t USING ivfflat (v) WITH (m = 16)",
    "CREATE INDEX ON t USING ivfflat (v vector_l1_ops)",
    "CREATE INDEX ON t USING ivfflat (s sparsevec_l2_ops)",
    "CREATE INDEX ON t USING ivfflat (b bit_jaccard_ops)",
    "CREATE INDEX ON t USING hnsw (v halfvec_l2_ops)",
    "CREATE INDEX ON t USING hnsw (h vector_l2_ops)",
    "CREATE INDEX ON t USING hnsw (v vector_ops)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops, h halfvec_l2_ops)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops) INCLUDE (b)",
    "CREATE UNIQUE INDEX ON t USING hnsw (v vector_l2_ops)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops ASC)",
    "CREATE INDEX ON t USING hnsw (v vector_l2_ops NULLS FIRST)",
    "ALTER TABLE t ADD EXCLUDE USING hnsw (v vector_l2_ops WITH <->)",
    "ALTER TABLE t ADD EXCLUDE USING hnsw (v vector_l2_ops WITH =)",
    "CLUSTER t USING fine",
    "SELECT FROM t ORDER BY v <-> '[1,2,x]'",
    "INSERT INTO t (v) VALUES ('[1,2]')",
    "INSERT INTO t (v) VALUES (ARRAY[1,2,NULL])",
    "ALTER TABLE t ALTER v TYPE vector(4)",
];

/// The results of the statements, with the operator classes of pgvector's indexes.
fn outcomes(server: &Server) -> Vec<String> {
    server.sql(
        "CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || \
         SQLERRM; END $$;
         CREATE TABLE t (v vector(3), n vector, h halfvec(3), s sparsevec(3), b bit(3));
         INSERT INTO t VALUES ('[1,2,3]', NULL, '[1,2,3]', '{}/3', '101');
         CREATE INDEX fine ON t USING hnsw (v vector_l2_ops); SET client_min_messages = warning",
    );
    let outcome = |statement: &&str| {
        let quoted = statement.replace('\'', "''");
        server.sql(&format!("SET enable_seqscan = off; SELECT '{quoted} -> ' || outcome('{quoted}')"))
    };
    STATEMENTS.iter().map(outcome).collect()
}

#[test]
fn indexes_of_pgvectors_are_declared_alike() {
    let server = Server::new("catalog", &["fsync = off"]);
    if !has_pgvector(&server) {
        return;
    }
    server.sql("DROP EXTENSION vector_search; CREATE EXTENSION vector");
    server.sql(LINES);
    let of_methods = |line: &String| {
        let kind = kind(line);
        kind == "method"
            || ["class", "strategy"].contains(&kind)
                && (line.contains(" hnsw ") || line.contains(" ivfflat "))
    };
    let expected: BTreeSet<String> = lines(&server, "'public'").into_iter().filter(of_methods).collect();
    assert!(expected.len() > 40, "{}", expected.len());
    let theirs = outcomes(&server);
    drop(server);
    let server = compat::server("catalog-compat");
    let ours = outcomes(&server);
    let differ: Vec<_> = ours.iter().zip(&theirs).filter(|(a, b)| a != b).collect();
    assert!(differ.is_empty() && ours.len() == theirs.len(), "{differ:#?}");
    server.sql(LINES);
    let ours: BTreeSet<String> = lines(&server, "'public'").into_iter().filter(of_methods).collect();
    let missing: Vec<&String> = expected.difference(&ours).collect();
    assert!(missing.is_empty(), "{} missing: {missing:#?}", missing.len());
}
