//! The extension `vector`: pgvector's index DDL, settings and dumps, as apps use them.

use crate::harness::{Server, major};
use crate::pgvector::has_pgvector;
use std::process::Command;

/// A server, and the directory in which it finds the extension.
pub struct Compat {
    server: Server,
    place: String,
}

impl std::ops::Deref for Compat {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Compat {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// A server on which `CREATE EXTENSION vector` finds ours, though pgvector may be installed.
pub fn server(name: &str) -> Compat {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install_compat.sh");
    let pg_config = std::env::var("VECTOR_SEARCH_PG_CONFIG").unwrap();
    let mut install = Command::new(script);
    install.arg(pg_config);
    let place = format!("/tmp/vs-compat-{}-{name}", std::process::id());
    let mut conf = vec!["fsync = off".to_owned()];
    if major() >= 18 {
        install.arg(format!("{place}/extension"));
        conf.push(format!("extension_control_path = '{place}:$system'"));
    }
    let output = install.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let conf: Vec<&str> = conf.iter().map(String::as_str).collect();
    let server = Server::new(name, &conf);
    server.sql("CREATE EXTENSION vector");
    Compat { server, place }
}

const ITEMS: &str = "
CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(32), half halfvec(32), bits bit(64));
SELECT setseed(0.5);
INSERT INTO items (embedding, half, bits)
    SELECT v, v, (hashint8(i)::bit(32) || hashint8(i + 1)::bit(32))::bit(64) FROM (
    SELECT i, (SELECT array_agg(sin(i * 0.37 + j * (i % 17 + 1)) + 0.5 * random()) \
    FROM generate_series(1, 32) j)::vector(32) v
    FROM generate_series(1, 15000) i) x;
";

/// Rows without clusters, the same in every run, so that each recall target needs another number of lists.
const HARD_ITEMS: &str = "
CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(32), half halfvec(32));
SELECT setseed(0.5);
INSERT INTO items (embedding, half) SELECT v, v FROM (
    SELECT i, (SELECT array_agg(random() * exp(j / -8.0) + 0 * i) FROM generate_series(1, 32) j)::vector(32) v
    FROM generate_series(1, 15000) i) x;
";

fn lists(server: &Compat, settings: &str, index: &str, order: &str) -> f64 {
    let script = format!(
        "SET enable_seqscan = off; {settings} \
         SELECT count(*) FROM (SELECT id FROM items ORDER BY {order} LIMIT 10) x \\g /dev/null\n\
         SELECT (ivf_last_scan() ->> 'lists')::float / (ivf_index_info('{index}') ->> 'lists')::float"
    );
    server.sql(&script).parse().unwrap()
}

#[test]
fn pgvectors_indexes_are_served() {
    let server = server("compat");
    server.sql(ITEMS);
    // The forms that frameworks emit, in either case of the names.
    for index in [
        "CREATE INDEX hnsw_l2 ON items USING hnsw (embedding vector_l2_ops) \
         WITH (m = 16, ef_construction = 64)",
        "CREATE INDEX CONCURRENTLY hnsw_cosine ON items USING HNSW (embedding vector_cosine_ops)",
        "CREATE INDEX hnsw_ip ON items USING hnsw (embedding vector_ip_ops)",
        "CREATE INDEX hnsw_half ON items USING hnsw (half halfvec_cosine_ops)",
        "CREATE INDEX hnsw_cast ON items USING hnsw ((embedding::halfvec(32)) halfvec_l2_ops)",
        "CREATE INDEX hnsw_bits ON items USING hnsw (bits bit_hamming_ops)",
        "CREATE INDEX flat ON items USING ivfflat (embedding) WITH (lists = 100)",
        "CREATE INDEX flat_ip ON items USING ivfflat (embedding vector_ip_ops) WITH (lists = '100')",
        "CREATE INDEX flat_cosine ON items USING ivfflat (embedding vector_cosine_ops)",
        "CREATE INDEX flat_half ON items USING ivfflat (half halfvec_l2_ops)",
        "CREATE INDEX flat_bits ON items USING ivfflat ((binary_quantize(embedding)::bit(32)) \
         bit_hamming_ops)",
    ] {
        server.sql(index);
    }
    assert_eq!(
        server.sql(
            "SELECT count(ivf_check(i.indexrelid, true)) FROM pg_index i \
             WHERE indrelid = 'items'::regclass AND NOT indisprimary"
        ),
        "11"
    );
    assert_eq!(
        server.sql("SELECT reloptions FROM pg_class WHERE relname = 'hnsw_l2'"),
        "{m=16,ef_construction=64}"
    );
    assert_eq!(
        server.sql(
            "SELECT bool_and(amvalidate(oid)) FROM pg_opclass WHERE opcmethod IN (SELECT oid \
             FROM pg_am WHERE amname IN ('hnsw', 'ivfflat'))"
        ),
        "t"
    );
    for (order, index) in [
        ("embedding <=> (SELECT embedding FROM items WHERE id = 7)", "cosine"),
        ("bits <~> (SELECT bits FROM items WHERE id = 7)", "hnsw_bits"),
    ] {
        let plan = server
            .sql(&format!("SET enable_seqscan = off; EXPLAIN SELECT id FROM items ORDER BY {order} LIMIT 5"));
        assert!(plan.contains("Index Scan using") && plan.contains(index), "{plan}");
    }
    let recall = server.sql(
        "SELECT min((ivf_recall(c, 400) ->> 'recall')::float) \
         FROM unnest('{hnsw_l2,hnsw_half,flat_cosine}'::regclass[]) c",
    );
    assert!(recall.parse::<f64>().unwrap() > 0.9, "{recall}");
}

#[test]
fn pgvectors_settings_raise_the_effort() {
    let server = server("compat-settings");
    server.sql(HARD_ITEMS);
    server.sql("CREATE INDEX graph ON items USING hnsw (embedding vector_l2_ops)");
    server.sql("CREATE INDEX flat ON items USING ivfflat (half halfvec_l2_ops) WITH (lists = 50)");
    let l2 = "embedding <-> (SELECT embedding FROM items WHERE id = 7)";
    let half = "half <-> (SELECT half FROM items WHERE id = 7)";
    let usual = lists(&server, "", "graph", l2);
    assert_eq!(lists(&server, "SET hnsw.ef_search = 10;", "graph", l2), usual, "less is not asked for");
    assert!(lists(&server, "SET hnsw.ef_search = 400;", "graph", l2) > usual);
    // A value that the setting does not accept is an error; before the session has loaded the library it is a
    // warning.
    assert_eq!(
        lists(&server, "SET hnsw.ef_search = 'many'; SET hnsw.iterative_scan = strict_order;", "graph", l2),
        usual
    );
    for odd in ["0", "-1", "'NaN'", "'inf'", "1e9", "''", "40"] {
        assert_eq!(lists(&server, &format!("SET hnsw.ef_search = {odd};"), "graph", l2), usual, "{odd}");
    }
    assert_eq!(
        lists(&server, "SET hnsw.ef_search = '4e2';", "graph", l2),
        lists(&server, "SELECT count(*) FROM items \\g /dev/null\nSET hnsw.ef_search = 400;", "graph", l2)
    );
    assert!(lists(&server, "", "flat", half) < 0.5);
    let share = lists(
        &server,
        "SET ivfflat.probes = 25; SET LOCAL ivfflat.iterative_scan = relaxed_order;",
        "flat",
        half,
    );
    assert!((0.5..0.6).contains(&share), "{share}");
    assert_eq!(lists(&server, "SET ivfflat.probes = 5000;", "flat", half), 1.0);
    assert_eq!(
        lists(
            &server,
            "SET hnsw.ef_search = 1000; SET ivfflat.probes = 5000; SET ivf.recall_target = 0.95;",
            "graph",
            l2
        ),
        lists(&server, "SET hnsw.ef_search = 1000;", "graph", l2)
    );
}

#[test]
fn further_classes_are_served() {
    let server = server("compat-metrics");
    server.sql(
        "CREATE TABLE t (v vector(3), h halfvec, b bit(8), s sparsevec(9), id serial);
         INSERT INTO t (v, h, b, s) SELECT ARRAY[i, i % 7, 1], ARRAY[i % 5, i], (i % 256)::bit(8),
         format('{%s:%s,9:%s}/9', i % 8 + 1, i, i % 7 + 1)::sparsevec FROM generate_series(1, 500) i;
         CREATE INDEX ON t USING hnsw (s sparsevec_l2_ops); CREATE INDEX ON t USING hnsw (s sparsevec_ip_ops);
         CREATE INDEX ON t USING hnsw (s sparsevec_l1_ops);
         CREATE INDEX ON t USING hnsw (s sparsevec_cosine_ops) WITH (m = 8, ef_construction = 64);
         CREATE INDEX ON t USING hnsw (v vector_l1_ops); CREATE INDEX ON t USING hnsw (h halfvec_l1_ops);
         CREATE INDEX ON t USING hnsw (b bit_jaccard_ops) WITH (m = 8)",
    );
    let orders = [
        "v <+> '[40,3,1]'",
        "h <+> '[3,77]'",
        "b <%> '10110000'",
        "s <-> '{3:20,9:1}/9'",
        "s <#> '{3:20,9:1}/9'",
        "s <=> '{3:20,9:1}/9'",
        "s <+> '{3:20,9:1}/9'",
    ];
    let same = || {
        for order in orders {
            let query =
                format!("SELECT array_agg(d) FROM (SELECT {order} AS d FROM t ORDER BY {order} LIMIT 9) x");
            let plan = server.sql(&format!("SET enable_seqscan = off; EXPLAIN {query}"));
            assert!(plan.contains("Index Scan"), "{plan}");
            let found = server.sql(&format!("SET enable_seqscan = off; {query}"));
            assert_eq!(found, server.sql(&format!("SET enable_indexscan = off; {query}")), "{order}");
        }
    };
    same();
    // As extension vector was installed before these classes were served.
    server.sql("DROP INDEX t_v_idx, t_h_idx, t_b_idx, t_s_idx, t_s_idx1, t_s_idx2, t_s_idx3");
    server.sql(
        "CREATE SCHEMA old;
         CREATE FUNCTION ivf_unsupported_metric() RETURNS int2
         AS '$libdir/vector_search', 'ivf_unsupported_metric_wrapper' LANGUAGE C IMMUTABLE STRICT",
    );
    for (name, of, operator) in [
        ("vector_l1_ops", "vector", "<+>"),
        ("halfvec_l1_ops", "halfvec", "<+>"),
        ("bit_jaccard_ops", "bit", "<%>"),
        ("sparsevec_l2_ops", "sparsevec", "<->"),
        ("sparsevec_ip_ops", "sparsevec", "<#>"),
        ("sparsevec_cosine_ops", "sparsevec", "<=>"),
        ("sparsevec_l1_ops", "sparsevec", "<+>"),
    ] {
        server.sql(&format!(
            "CREATE OPERATOR CLASS old.{name} FOR TYPE {of} USING hnsw AS OPERATOR 1 {operator} ({of}, {of})
             FOR ORDER BY float_ops, FUNCTION 1 ({of}, {of}) ivf_unsupported_metric()"
        ));
    }
    server.sql(
        "CREATE INDEX ON t USING hnsw (v old.vector_l1_ops);
         CREATE INDEX ON t USING hnsw (h old.halfvec_l1_ops);
         CREATE INDEX ON t USING hnsw (b old.bit_jaccard_ops);
         CREATE INDEX ON t USING hnsw (s old.sparsevec_l2_ops);
         CREATE INDEX ON t USING hnsw (s old.sparsevec_ip_ops);
         CREATE INDEX ON t USING hnsw (s old.sparsevec_cosine_ops);
         CREATE INDEX ON t USING hnsw (s old.sparsevec_l1_ops)",
    );
    same();
}

#[test]
fn what_cannot_be_served_is_said() {
    let server = server("compat-errors");
    server.sql(
        "CREATE TABLE t (v vector(3), h halfvec(3), s sparsevec(3), b bit(3), n vector, w bit(64001), \
         x varbit(8))",
    );
    for (index, what) in [
        ("ivfflat (s sparsevec_l2_ops)", "does not exist for access method \"ivfflat\""),
        ("hnsw (v)", "has no default operator class for access method \"hnsw\""),
        ("hnsw (n vector_l2_ops)", "22023: column does not have dimensions"),
        ("hnsw (v vector_l2_ops) WITH (m = 1)", "value 1 out of bounds for option \"m\""),
        (
            "hnsw (v vector_l2_ops) WITH (m = 40)",
            "22023: ef_construction must be greater than or equal to 2 * m",
        ),
        ("hnsw (v vector_l2_ops) WITH (lists = 1)", "unrecognized parameter \"lists\""),
        ("ivfflat (v) WITH (lists = 0)", "value 0 out of bounds for option \"lists\""),
        ("ivfflat (v) WITH (bits = 4)", "unrecognized parameter \"bits\""),
        ("hnsw (v vector_l2_ops) WITH (m = 200)", "value 200 out of bounds for option \"m\""),
        (
            "hnsw (v vector_l2_ops, n vector_l2_ops)",
            "access method \"hnsw\" does not support multicolumn indexes",
        ),
        ("hnsw (w bit_hamming_ops)", "54000: column cannot have more than 64000 dimensions for hnsw index"),
        (
            "ivfflat (w bit_hamming_ops)",
            "54000: column cannot have more than 64000 dimensions for ivfflat index",
        ),
        ("hnsw (x bit_hamming_ops)", "0A000: type not supported for hnsw index"),
        ("ivfflat (x bit_hamming_ops)", "0A000: type not supported for ivfflat index"),
    ] {
        let error = server.try_sql(&format!("CREATE INDEX ON t USING {index}")).unwrap_err();
        assert!(error.contains(what), "{index}: {error}");
    }
    let mut said = server
        .start_sql("CREATE INDEX ON t USING hnsw (v vector_l2_ops); CREATE INDEX ON t USING ivfflat (v);");
    said.stdout.take();
    let said = said.wait_with_output().unwrap();
    let notices = String::from_utf8(said.stderr).unwrap();
    assert_eq!(notices.matches("is served by vector_search's ivf").count(), 1, "{notices}");
    // After all this the extensions can still be dropped.
    server.sql("DROP EXTENSION vector CASCADE; DROP EXTENSION vector_search CASCADE");
}

#[test]
fn frameworks_find_what_they_ask_for() {
    let server = server("compat-frameworks");
    server.sql(ITEMS);
    // langchain-postgres, LangGraph, Django, vecs, Spring AI, SQLAlchemy, pgvector-node, pgvector-go
    for (query, answer) in [
        ("SELECT pg_advisory_xact_lock(1573678846307946496);CREATE EXTENSION IF NOT EXISTS vector;", ""),
        (
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname='vector') \
             THEN RAISE 'none'; END IF; END $$",
            "",
        ),
        ("SELECT 1 FROM pg_extension WHERE extname='vector'", "1"),
        (
            "select split_part(installed_version, '.', 2)::int >= 5 from pg_available_extensions where name \
             = 'vector'",
            "t",
        ),
        (
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'embedding'",
            "32",
        ),
        (
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'items'::regclass \
             AND attname = 'half'",
            "halfvec(32)",
        ),
        (
            "SELECT string_agg(typname, ' ' ORDER BY typname) FROM pg_type \
             WHERE typname IN ('vector', 'halfvec', 'sparsevec', '_vector')",
            "_vector halfvec sparsevec vector",
        ),
        ("SELECT to_regtype('vector') IS NOT NULL AND to_regtype('_vector') IS NOT NULL", "t"),
    ] {
        assert_eq!(server.sql(query), answer, "{query}");
    }
    // LlamaIndex, LangChain.js, SQLAlchemy, Spring AI, Open WebUI. Statements run twice if the framework does
    // so
    for index in [
        "CREATE INDEX IF NOT EXISTS a ON items USING hnsw (embedding vector_cosine_ops) \
         WITH (m = 16, ef_construction = 64)",
        "CREATE INDEX IF NOT EXISTS a ON items USING hnsw (embedding vector_cosine_ops) \
         WITH (m = 16, ef_construction = 64)",
        "CREATE INDEX IF NOT EXISTS b ON public.items USING hnsw ((embedding::vector(32)) vector_cosine_ops) \
         WITH (m=16, ef_construction=64)",
        "CREATE INDEX c ON items USING hnsw ((CAST(embedding AS HALFVEC(32))) halfvec_l2_ops)",
        "CREATE INDEX d ON items USING hnsw ((CAST(binary_quantize(embedding) AS BIT(32))) bit_hamming_ops)",
        "CREATE INDEX IF NOT EXISTS e ON items USING IVFFLAT (embedding vector_cosine_ops) \
         WITH (lists = 100)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS f ON items USING hnsw (half halfvec_cosine_ops) \
         WHERE (id > 10)",
    ] {
        server.sql(index);
    }
    assert_eq!(
        server.sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'a'"),
        "CREATE INDEX a ON public.items USING hnsw (embedding vector_cosine_ops) \
         WITH (m='16', ef_construction='64')"
    );
    // drizzle-kit
    let described = "SELECT amname, opcname, reloptions FROM pg_index i JOIN pg_class c \
        ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam \
        JOIN pg_opclass o ON o.oid = i.indclass[0] WHERE relname = 'e'";
    assert_eq!(server.sql(described), "ivfflat|vector_cosine_ops|{lists=100}");
    frameworks_queries_use_the_index(&server);
}

/// PGVector, Spring AI, LangChain.js with a schema, Supabase's function.
fn frameworks_queries_use_the_index(server: &Server) {
    let one = "(SELECT embedding FROM items WHERE id = 7)";
    let set =
        "SET LOCAL ivfflat.probes = 10; SET LOCAL hnsw.ef_search = 40; SET LOCAL enable_bitmapscan = off;";
    for query in [
        format!("SELECT id, embedding <=> {one} AS distance FROM items ORDER BY distance ASC LIMIT 1"),
        format!(
            "SELECT id, embedding <=> {one} AS distance FROM items WHERE embedding <=> {one} < 0.8 \
             ORDER BY distance LIMIT 1"
        ),
        format!(
            "SELECT id, embedding OPERATOR(public.<=>) {one}::\"public\".\"vector\" AS d FROM items \
             ORDER BY d LIMIT 1"
        ),
        format!(
            "SELECT id, 1 - (embedding <=> {one}) AS similarity FROM items \
             WHERE 1 - (embedding <=> {one}) > 0.5 ORDER BY similarity DESC LIMIT 1"
        ),
    ] {
        let found = server.sql(&format!("BEGIN; {set} SET LOCAL enable_seqscan = off; {query}; COMMIT"));
        assert!(found.starts_with("7|"), "{query}: {found}");
        let plan = server.sql(&format!("SET enable_seqscan = off; EXPLAIN {query}"));
        assert!(plan.contains("Index Scan using"), "{query}: {plan}");
    }
}

#[test]
fn a_user_with_rights_in_the_database_creates_both() {
    let server = server("compat-trusted");
    server.sql("CREATE ROLE app LOGIN; CREATE DATABASE apps OWNER app; CREATE ROLE stranger LOGIN");
    let error = server.try_sql("\\c apps stranger\nCREATE EXTENSION vector CASCADE").unwrap_err();
    assert!(error.contains("42501"), "{error}");
    let error = server.try_sql("\\c apps app\nCREATE EXTENSION vector").unwrap_err();
    assert!(error.contains("required extension \"vector_search\" is not installed"), "{error}");
    server.sql(
        "\\c apps app\nCREATE EXTENSION IF NOT EXISTS vector CASCADE; CREATE TABLE t (v vector(2)); \
         INSERT INTO t VALUES ('[1,2]');
         CREATE INDEX ON t USING hnsw (v vector_l2_ops); SELECT v FROM t ORDER BY v <-> '[1,1]' LIMIT 1; \
         DROP EXTENSION vector CASCADE",
    );
}

/// A dump of pgvector's database as `pg_dump` writes it.
const DUMP: &str = r#"
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';
CREATE TABLE public.docs (id bigint NOT NULL, embedding public.vector(3), half public.halfvec(3),
    sparse public.sparsevec(5), bits bit(3),
    many public.vector(3)[], CONSTRAINT near
    CHECK (((embedding OPERATOR(public.<->) '[0,0,0]'::public.vector) < (10)::double precision)));
COPY public.docs (id, embedding, half, sparse, bits, many) FROM stdin;
1	[1,2,3]	[1,2,3]	{1:1,5:2}/5	101	{"[1,2,3]","[4,5,6]"}
2	[4,5,6]	\N	\N	\N	\N
\.
CREATE INDEX docs_embedding_idx ON public.docs USING hnsw (embedding public.vector_cosine_ops)
    WITH (m='16', ef_construction='64');
CREATE INDEX docs_half_idx ON public.docs USING ivfflat (half public.halfvec_l2_ops) WITH (lists='10');
CREATE INDEX docs_bits_idx ON public.docs USING hnsw (bits public.bit_hamming_ops);
CREATE INDEX docs_order_idx ON public.docs USING btree (embedding);
"#;

#[test]
fn a_dump_of_pgvectors_is_restored() {
    let server = server("compat-dump");
    server.sql("DROP EXTENSION vector");
    server.sql(DUMP);
    assert_eq!(server.sql("SELECT sparse, many[2] FROM docs WHERE id = 1"), "{1:1,5:2}/5|[4,5,6]");
    assert_eq!(server.sql("SELECT id FROM docs ORDER BY embedding <=> '[4,5,6]' LIMIT 1"), "2");
    let error = server.try_sql("INSERT INTO docs VALUES (3, '[90,0,0]')").unwrap_err();
    assert!(error.contains("near"), "{error}");
    // Both extensions move, together with what uses them.
    server.sql(
        "CREATE SCHEMA extensions; ALTER EXTENSION vector SET SCHEMA extensions; \
         ALTER EXTENSION vector_search SET SCHEMA extensions",
    );
    assert_eq!(
        server.sql(
            "SET search_path = public, extensions; SELECT id FROM docs \
             ORDER BY embedding <=> '[4,5,6]' LIMIT 1"
        ),
        "2"
    );
    server.sql("REINDEX TABLE docs; INSERT INTO docs VALUES (4, '[1,1,1]'); VACUUM docs");
}

/// Runs a statement and returns what it answers, or all of its error.
const ANSWER: &str = "
CREATE FUNCTION answer(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text; detail text; hint text;
BEGIN
    IF statement ~* '^(show|select)' THEN EXECUTE statement INTO result; ELSE EXECUTE statement; END IF;
    RETURN coalesce(result, 'done');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, SQLERRM, detail, hint);
END $$;
CREATE TABLE plain (v vector(3)); INSERT INTO plain VALUES ('[1,2,3]');
CREATE ROLE app; GRANT ALL ON SCHEMA public TO app;
";

/// Values, ordinary and hostile.
const VALUES: [&str; 30] = [
    "0",
    "1",
    "40",
    "-1",
    "1000",
    "1001",
    "32768",
    "32769",
    "2147483647",
    "2147483648",
    "99999999999",
    "40.5",
    "1e2",
    "'0x28'",
    "' 50 '",
    "'50kB'",
    "'1e400'",
    "1.23456789",
    "0.0000012345678",
    "'NaN'",
    "'inf'",
    "'-Infinity'",
    "'abc'",
    "''",
    "true",
    "on",
    "OFF",
    "strict_order",
    "'Relaxed_Order'",
    "1, 2",
];

const NAMES: [&str; 9] = [
    "hnsw.ef_search",
    "HNSW.Iterative_Scan",
    "hnsw.max_scan_tuples",
    "hnsw.scan_mem_multiplier",
    "ivfflat.probes",
    "ivfflat.iterative_scan",
    "ivfflat.max_probes",
    "hnsw.nonsense",
    "ivfflat.nonsense",
];

/// Statements about the settings.
fn statements() -> Vec<String> {
    let mut all = Vec::new();
    for name in NAMES {
        all.push(format!("SHOW {name}"));
        for value in VALUES {
            all.push(format!("SET {name} = {value}"));
            all.push(format!("SHOW {name}"));
            if !value.contains(',') {
                let text = value.trim_matches('\'');
                all.push(format!("SELECT set_config('{name}', '{text}', true)"));
                all.push(format!("ALTER ROLE app SET {name} = {value}"));
                all.push(format!("ALTER DATABASE postgres SET {name} = {value}"));
                all.push(format!(
                    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET {name} = {value} AS 'SELECT 1'"
                ));
                all.push("DROP FUNCTION IF EXISTS f".into());
            }
        }
        all.push(format!("SET LOCAL {name} = 7"));
        all.push(format!("SELECT current_setting('{name}')"));
        all.push(format!("SELECT current_setting('{name}', true)"));
        all.push(format!("SET {name} TO DEFAULT"));
        all.push(format!("RESET {name}"));
        all.push(format!("SHOW {name}"));
        all.push(format!("ALTER ROLE app RESET {name}"));
        all.push(format!("ALTER DATABASE postgres RESET {name}"));
    }
    for statement in [
        "SET ROLE app",
        "ALTER ROLE app SET hnsw.ef_search = 100",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SET hnsw.ef_search = 77 AS $$ \
         SELECT current_setting('hnsw.ef_search') $$",
        "SELECT f()",
        "ALTER FUNCTION f SET hnsw.ef_search = 0",
        "ALTER FUNCTION f SET ivfflat.probes = 5",
        "RESET ROLE",
        "SELECT string_agg(concat_ws(' ', name, setting, context, source, boot_val, reset_val), ',' \
         ORDER BY name) FROM pg_settings WHERE name ~ '^(hnsw|ivfflat)'",
    ] {
        all.push(statement.into());
    }
    all
}

/// Compares both servers' answers, and prints both where they differ.
fn compare(ours: &str, theirs: &str, statements: &[String]) -> String {
    assert_eq!(ours.lines().count(), theirs.lines().count());
    let pairs = ours.lines().zip(theirs.lines()).zip(statements);
    let differ = pairs.filter(|((ours, theirs), _)| ours != theirs);
    differ.map(|((ours, theirs), what)| format!("{what}\n  {ours}\n  {theirs}\n")).collect()
}

#[test]
fn settings_answer_as_pgvectors() {
    let theirs = Server::new("settings-pgvector", &["fsync = off"]);
    if !has_pgvector(&theirs) {
        return;
    }
    theirs.sql("DROP EXTENSION vector_search; CREATE EXTENSION vector");
    let ours = server("compat-settings-beside");
    let statements = statements();
    let calls: String = statements.iter().map(|s| format!("SELECT answer($answer${s}$answer$);\n")).collect();
    // The library is loaded by a value that is read, by one that is written, or by an index.
    let first = "SELECT v FROM plain";
    let answers = [&theirs, &*ours].map(|server| {
        server.sql(ANSWER);
        server.sql(&format!("{first} \\g /dev/null\n{calls}"))
    });
    assert_eq!(compare(&answers[1], &answers[0], &statements), "");
    assert!(answers[1].matches("is outside the valid range").count() > 100, "errors were seen");
    // Settings that are set before the library is loaded: valid values are taken over at any nesting level,
    // others raise a warning.
    for script in [
        "SET hnsw.ef_search = 0; SET hnsw.iterative_scan = bad; SET ivfflat.probes = 7; \
         SET hnsw.scan_mem_multiplier = 2.50; SET hnsw.nonsense = 1;",
        "SET hnsw.ef_search = 90; BEGIN; SET LOCAL hnsw.ef_search = 91; SAVEPOINT a; SET ivfflat.probes = 8;",
        "BEGIN; SET hnsw.ef_search = 1e2; SAVEPOINT a; SET LOCAL hnsw.ef_search = 0; \
         SET HNSW.iterative_scan = STRICT_ORDER;",
    ] {
        let ask = "SELECT concat_ws(' ', current_setting('hnsw.ef_search'), \
            current_setting('hnsw.iterative_scan'), current_setting('ivfflat.probes'), \
            current_setting('hnsw.scan_mem_multiplier'), current_setting('hnsw.nonsense', true));";
        let whole = format!("{script} {first} \\g /dev/null\n{ask} ROLLBACK TO a; {ask} COMMIT; {ask}");
        let whole = if script.contains("SAVEPOINT") { whole } else { whole.replace("ROLLBACK TO a;", "") };
        assert_eq!(ours.sql(&whole), theirs.sql(&whole), "{script}");
    }
    // In a database without the extension, the names of the settings are free.
    ours.sql("CREATE DATABASE other");
    let script = "\\c other\nCREATE EXTENSION vector_search; \
        SELECT '[1]'::vector \\g /dev/null\nSET hnsw.ef_search = 'abc'; SET hnsw.nonsense = 1; \
        SHOW hnsw.ef_search";
    assert_eq!(ours.sql(script), "abc");
}

#[test]
fn pgvectors_library_takes_its_settings_over() {
    let server = server("compat-library");
    server.sql("CREATE TABLE items (v vector(3)); CREATE INDEX ON items USING hnsw (v vector_l2_ops)");
    if server.try_sql("LOAD 'vector'").is_err() {
        eprintln!("skipped: this server has no pgvector");
        return;
    }
    let ours = "SELECT count(*) FROM items \\g /dev/null\nSHOW hnsw.ef_search; SET hnsw.ef_search = 100; \
        BEGIN; SET LOCAL ivfflat.probes = 5;";
    let ask = "SELECT setting, vartype, min_val FROM pg_settings WHERE name IN ('hnsw.ef_search', \
        'ivfflat.probes') ORDER BY name;";
    let found =
        server.sql(&format!("{ours} LOAD 'vector'; {ask} COMMIT; {ask} RESET ALL; SHOW hnsw.ef_search"));
    assert_eq!(found, "40\n100|integer|1\n5|integer|1\n100|integer|1\n1|integer|1\n40");
    let found = server.sql(&format!(
        "LOAD 'vector'; SET hnsw.ef_search = 200; SELECT count(*) FROM items \\g /dev/null\n{ask}"
    ));
    assert_eq!(found, "200|integer|1\n1|integer|1");
    let error = server.try_sql(&format!("{ours} LOAD 'vector'; SET hnsw.ef_search = 0")).unwrap_err();
    assert!(
        error.contains("0 is outside the valid range for parameter \"hnsw.ef_search\" (1 .. 1000)"),
        "{error}"
    );
}

#[test]
fn the_types_are_where_the_extension_is() {
    let server = server("compat-schema");
    // As on Supabase.
    let at = "\\c supabase\n";
    server.sql("CREATE DATABASE supabase");
    server.sql(&format!(
        "{at} CREATE SCHEMA extensions; CREATE EXTENSION vector_search SCHEMA extensions;
         create extension if not exists vector with schema extensions;
         CREATE TABLE docs (id int, embedding extensions.vector(3));
         INSERT INTO docs SELECT i, ARRAY[i, 1, 2]::extensions.vector FROM generate_series(1, 1000) i;
         CREATE INDEX docs_hnsw ON docs USING hnsw (embedding extensions.vector_cosine_ops) \
         WITH (m = 16, ef_construction = 64);
         CREATE INDEX docs_flat ON docs USING ivfflat (embedding extensions.vector_l2_ops) WITH (lists = 10);"
    ));
    for (path, order) in [
        ("public", "embedding OPERATOR(extensions.<=>) '[7,1,2]'::extensions.vector"),
        ("public", "embedding OPERATOR(extensions.<->) '[7,1,2]'"),
        ("public, extensions", "embedding <=> '[7,1,2]'::vector"),
        ("public, extensions", "embedding <-> '[7,1,2]'"),
    ] {
        let query = format!("SELECT id FROM docs ORDER BY {order} LIMIT 1");
        let found = server.sql(&format!(
            "{at} SET search_path = {path}; SET enable_seqscan = off; {query}; EXPLAIN (COSTS OFF) {query}"
        ));
        assert!(
            found.starts_with("7\n") && found.contains("Index Scan using docs_"),
            "{path} {order}: {found}"
        );
    }
    let definition = "SELECT indexdef FROM pg_indexes WHERE indexname = 'docs_hnsw'";
    assert_eq!(
        server.sql(&format!("{at} {definition}")),
        "CREATE INDEX docs_hnsw ON public.docs USING hnsw (embedding extensions.vector_cosine_ops) \
         WITH (m='16', ef_construction='64')"
    );
    // In a dump of this database vector_search comes before vector.
    server.dump_and_restore("supabase", "restored");
    assert_eq!(
        server.sql(&format!("\\c restored\n{definition}; SELECT count(*) FROM docs")),
        "CREATE INDEX docs_hnsw ON public.docs USING hnsw (embedding extensions.vector_cosine_ops) \
         WITH (m='16', ef_construction='64')\n1000"
    );
    server.sql(&format!("{at} DROP TABLE docs; DROP EXTENSION vector; SELECT '[1,2]'::extensions.vector"));
    elsewhere_it_says_what_to_do(&server, at);
}

fn elsewhere_it_says_what_to_do(server: &Server, at: &str) {
    for (types, command, hint) in [
        (
            "extensions",
            "CREATE EXTENSION vector",
            "Use CREATE EXTENSION vector SCHEMA extensions, or move the types first: ALTER \
             EXTENSION vector_search SET SCHEMA public.",
        ),
        (
            "public",
            "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions CASCADE",
            "ALTER EXTENSION vector_search SET SCHEMA extensions.",
        ),
        (
            "\"Odd one\"",
            "CREATE EXTENSION vector SCHEMA public",
            "Use CREATE EXTENSION vector SCHEMA \"Odd one\",",
        ),
    ] {
        server.sql(&format!(
            "{at} CREATE SCHEMA IF NOT EXISTS {types}; ALTER EXTENSION vector_search SET SCHEMA {types}"
        ));
        let error = server.try_sql(&format!("{at} {command}")).unwrap_err();
        assert!(
            error.contains("55000: extension \"vector\" cannot be in schema") && error.contains(hint),
            "{error}"
        );
    }
    server.sql(&format!(
        "{at} DROP EXTENSION vector_search; CREATE EXTENSION vector \
         WITH SCHEMA extensions CASCADE; SELECT '[1]'::extensions.vector"
    ));
}
