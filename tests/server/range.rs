//! Random conditions on distances, answered with the index and by a sequential scan.

use std::fmt::Write;

use crate::harness::{Server, literal, vector};
use crate::random::Random;

const CASES: usize = 2000;
const DIMS: usize = 8;

/// Returns how the index answers a query, and whether a sequential scan answers the same. All settings by
/// which a scan may be inexact are on.
const FUNCTIONS: &str = "
    CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE rows text;
    BEGIN
        EXECUTE format('SELECT count(*) || string_agg(x::text, '' '' ORDER BY x::text) FROM (%s) x', query)
            INTO rows;
        RETURN coalesce(rows, '');
    EXCEPTION WHEN OTHERS THEN RETURN 'error ' || SQLSTATE || SQLERRM;
    END $$;
    CREATE FUNCTION compare(query text, memory text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE line text; found text; truth text; used text = 'none';
    BEGIN
        PERFORM set_config('enable_seqscan', 'off', true), set_config('work_mem', memory, true),
            set_config('ivf.recall_target', '0.5', true), set_config('ivf.probes', '1', true),
            set_config('ivf.iterative_scan', 'off', true);
        FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
            IF line LIKE '%Order By%' THEN used = 'index'; END IF;
        END LOOP;
        found = answer(query);
        PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
        truth = answer(query);
        PERFORM set_config('enable_indexscan', 'on', true);
        IF found <> truth THEN
            RETURN format(E'DIFFERENT %s\\n%s\\n%s', query, left(found, 200), left(truth, 200));
        END IF;
        RETURN CASE WHEN truth = '' THEN 'empty ' WHEN truth LIKE 'error%' THEN 'error '
            ELSE 'rows ' END || used;
    END $$;";

/// A column, its operators, and a radius in which there are some rows, for each operator.
type Column = (&'static str, &'static [(&'static str, f64)]);
const COLUMNS: [Column; 3] = [
    ("embedding", &[("<->", 0.8), ("<=>", 0.1), ("<#>", -2.0)]),
    ("half", &[("<->", 0.8), ("<=>", 0.1), ("<#>", -2.0)]),
    ("bits", &[("<~>", 12.0)]),
];

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len())]
}

/// A comparison of a distance with a radius, in one of its forms.
fn condition(random: &mut Random, distance: &str, radius: &str) -> String {
    match random.below(8) {
        0 => format!("{radius} > {distance}"),
        1 => format!("{distance} <= {radius}"),
        2 => format!("NOT {distance} >= {radius}"),
        3 => format!("-({distance}) > -({radius})"),
        4 => format!("1 - ({distance}) >= 1 - ({radius})"),
        5 => format!("2 * ({distance}) + 1 < 2 * ({radius}) + 1"),
        6 => format!("{distance} < ({radius})::float4"),
        _ => format!("{distance} < {radius}"),
    }
}

fn radius(random: &mut Random, usual: f64) -> String {
    let radius = match random.below(12) {
        0 => pick(random, &["0", "-0.0", "-1", "'NaN'", "'Infinity'", "'-Infinity'", "1e30", "NULL"]).into(),
        1 => format!("{}", usual * 3.0),
        2 => format!("(SELECT {usual}::float8)"),
        _ => format!("{:.4}", usual * (0.3 + 0.9 * f64::from(random.signed_unit().abs()))),
    };
    format!("{radius}::float8")
}

fn query(random: &mut Random) -> String {
    let (column, operators) = COLUMNS[random.below(10).saturating_sub(7)];
    let (operator, usual) = operators[random.below(operators.len())];
    let radius = radius(random, usual);
    let row = random.below(4000);
    let target = match random.below(8) {
        0 => format!("(SELECT {column} FROM special WHERE id = {})", 20_001 + random.below(8)),
        1 if column == "embedding" => {
            format!("'{}'::vector", literal(&vector(row as u64 + 100_000, DIMS)))
        }
        _ => format!("(SELECT {column} FROM items WHERE id = {row})"),
    };
    let distance = match random.below(3) {
        0 => format!("({target} {operator} t.{column})"),
        _ => format!("(t.{column} {operator} {target})"),
    };
    let filter = match random.below(8) {
        0 => format!("AND t.category = {}", random.below(22)),
        1 => format!("AND t.category < {} AND t.id % 3 = 0", random.below(20)),
        2 => format!("AND t.category IN ({}, {})", random.below(22), random.below(22)),
        3 => format!("AND t.id > {}", random.below(4000)),
        4 => format!("AND t.category IS {} NULL", ["", "NOT"][random.below(2)]),
        _ => String::new(),
    };
    let table = pick(random, &["items", "items", "parts"]);
    let mut within = condition(random, &distance, &radius);
    if random.below(4) == 0 {
        let other = format!("(t.{column} {operator} (SELECT {column} FROM items WHERE id = {}))", row / 3);
        let other = condition(random, &other, &radius);
        within = format!("({within} OR {other} {})", pick(random, &["", "AND t.category < 9"]));
    }
    let pair = format!("(a.{column} {operator} t.{column})");
    let reach = pick(random, &[&radius, &radius, "a.r"]);
    let joined = condition(random, &pair, reach);
    let few =
        format!("(SELECT * FROM special UNION ALL SELECT * FROM items WHERE id IN ({row}, {}))", row / 2);
    match random.below(9) {
        0 => format!("SELECT a.id AS a, t.id FROM {few} a JOIN {table} t ON {joined} {filter}"),
        1 => format!(
            "SELECT a.id AS a, t.id FROM {few} a LEFT JOIN {table} t ON {joined} AND a.category = t.category"
        ),
        2 => format!(
            "SELECT a.id FROM {few} a WHERE {} EXISTS (SELECT FROM {table} t WHERE {joined} {filter})",
            pick(random, &["", "NOT"])
        ),
        3 => format!("SELECT count(*), min(id), max(category) FROM {table} t WHERE {within} {filter}"),
        4 => format!(
            "SELECT count(*) FROM (SELECT FROM {table} t WHERE {within} {filter} LIMIT {}) x",
            random.below(50)
        ),
        5 => format!(
            "SELECT a.id AS a, n FROM {few} a, LATERAL (
                SELECT count(*) AS n FROM {table} t WHERE {joined} {filter}) x"
        ),
        _ => format!("SELECT t.id FROM {table} t WHERE {within} {filter}"),
    }
}

/// Tables, indexes and functions for the comparisons.
fn fill(server: &Server) {
    server.fill("items", DIMS, 0..4000);
    server.sql(&format!(
        "{FUNCTIONS}
         ALTER TABLE items ADD half halfvec({DIMS}), ADD bits bit(64), ADD r float8;
         UPDATE items SET category = nullif(id % 21, 20), half = embedding, r = 0.01 * (id % 90),
             bits = ('x' || md5((id % 700)::text))::bit(64);
         CREATE TABLE special (LIKE items);
         INSERT INTO special (id) VALUES (20001);
         INSERT INTO special SELECT id, category, array_fill(e::float4, ARRAY[{DIMS}])::vector,
                 array_fill(h, ARRAY[{DIMS}])::halfvec, b::bit(64), r
             FROM (VALUES (20002, 1, 0, 0, 0, 1::float8), (20003, 2, 1e30, 60000, 0, 'Infinity'),
                 (20004, 3, -1e30, -60000, -1, 'NaN'), (20005, 4, 1e-30, 1e-7, 1, 0),
                 (20006, 5, 1e-18, 1e-6, 2, -1), (20007, 6, 1e18, 100, 3, NULL),
                 (20008, NULL, 0.5, 0.5, 4, 0.5)) v (id, category, e, h, b, r);
         INSERT INTO items SELECT * FROM special;
         CREATE INDEX ON items USING ivf (embedding, category);
         CREATE INDEX ON items USING ivf (embedding vector_cosine_ops, id, category) WITH (lists = 30);
         CREATE INDEX ON items USING ivf (embedding vector_ip_ops) WITH (lists = 17, bits = 8);
         CREATE INDEX ON items USING ivf (half halfvec_l2_ops) WITH (lists = 17, bits = 1);
         CREATE INDEX ON items USING ivf (half halfvec_cosine_ops) WITH (lists = 17);
         CREATE INDEX ON items USING ivf (half halfvec_ip_ops, category) WITH (lists = 17);
         CREATE INDEX ON items USING ivf (bits bit_hamming_ops, category) WITH (lists = 9);
         CREATE TABLE parts (LIKE items) PARTITION BY HASH (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO parts SELECT * FROM items; CREATE INDEX ON parts USING ivf (embedding, category);
         CREATE INDEX ON parts USING ivf (embedding vector_cosine_ops);
         DELETE FROM items WHERE id % 9 = 4; UPDATE items SET category = category WHERE id % 9 = 5; ANALYZE"
    ));
}

#[test]
fn random_conditions_on_distances_agree_with_sequential_scans() {
    let server = Server::new("range", &["fsync = off", "autovacuum = off", "jit = off"]);
    fill(&server);
    let mut random = Random(20_261_128);
    let (mut used, mut with_rows) = (0, 0);
    for _ in 0..CASES / 100 {
        let mut script = String::new();
        for _ in 0..100 {
            let memory = ["64kB", "4MB"][random.below(2)];
            writeln!(script, "SELECT compare($q${}$q$, '{memory}');", query(&mut random)).unwrap();
        }
        let answers = server.sql(&script);
        assert!(!answers.contains("DIFFERENT"), "{answers}");
        for answer in answers.lines() {
            used += usize::from(answer.ends_with("index"));
            with_rows += usize::from(answer == "rows index");
        }
    }
    assert!(used > CASES / 2 && with_rows > CASES / 4, "{used} used the index, {with_rows} had rows");
}

/// A join of some rows with a table, whose searches may be made together.
fn join(random: &mut Random) -> String {
    let (column, operators) = COLUMNS[random.below(10).saturating_sub(7)];
    let (operator, usual) = operators[random.below(operators.len())];
    let radius = radius(random, usual * 0.7);
    let pair = match random.below(2) {
        0 => format!("(a.{column} {operator} t.{column})"),
        _ => format!("(t.{column} {operator} a.{column})"),
    };
    let joined = condition(random, &pair, &radius);
    let (first, many) = (random.below(3000), [60, 150, 440][random.below(3)]);
    let some = format!(
        "(SELECT * FROM special UNION ALL SELECT * FROM items WHERE id BETWEEN {first} AND {} {})",
        first + many,
        pick(random, &["", "ORDER BY r", "OFFSET 0"])
    );
    let filter = pick(random, &["", "AND t.id % 3 = 0", "AND t.id > a.id", "AND t.category = a.category"]);
    match random.below(8) {
        0 => format!("SELECT a.id AS a, t.id FROM {some} a LEFT JOIN items t ON {joined} {filter}"),
        1 => format!(
            "SELECT a.id FROM {some} a WHERE {} EXISTS (SELECT FROM items t WHERE {joined} {filter})",
            pick(random, &["", "NOT"])
        ),
        2 => format!(
            "SELECT x, a.id AS a, t.id FROM generate_series(1, 3) x, LATERAL (
                SELECT * FROM {some} b WHERE b.id % 3 = x - 1 OFFSET 0) a JOIN items t ON {joined} {filter}"
        ),
        3 => format!(
            "SELECT a.id AS a, t.id, u.id AS u FROM {some} a JOIN items t ON {joined}
                JOIN items u ON u.id = t.id + 1 {filter}"
        ),
        4 => format!(
            "SELECT x.r, (SELECT count(*) FROM {some} a JOIN items t ON {pair} < x.r {filter})
                FROM (SELECT {radius} AS r UNION ALL SELECT {usual} / 2) x"
        ),
        5 => format!(
            "SELECT count(*) FROM (
                SELECT FROM {some} a JOIN items t ON {joined} {filter} LIMIT {}) x",
            random.below(200)
        ),
        _ => format!("SELECT a.id AS a, t.id FROM {some} a JOIN items t ON {joined} {filter}"),
    }
}

#[test]
fn random_joins_in_batches_agree_with_sequential_scans() {
    const JOINS: usize = 240;
    let server = Server::new("join_batches", &["fsync = off", "autovacuum = off", "jit = off"]);
    fill(&server);
    server.sql(
        "CREATE FUNCTION is_batched(query text) RETURNS int LANGUAGE plpgsql AS $$
         DECLARE line text;
         BEGIN
             PERFORM set_config('enable_seqscan', 'off', true);
             FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
                 IF line LIKE '%IvfJoinBatch%' THEN RETURN 1; END IF;
             END LOOP;
             RETURN 0;
         END $$",
    );
    let mut random = Random(20_261_129);
    let (mut together, mut with_rows) = (0, 0);
    for _ in 0..JOINS / 20 {
        let mut script = String::new();
        for _ in 0..20 {
            let (memory, workers) = (["64kB", "4MB", "64MB"][random.below(3)], random.below(3));
            let join = join(&mut random);
            writeln!(
                script,
                "SET max_parallel_workers_per_gather = {workers}; SELECT is_batched($q${join}$q$);
                 SELECT compare($q${join}$q$, '{memory}');"
            )
            .unwrap();
        }
        let answers = server.sql(&script);
        assert!(!answers.contains("DIFFERENT"), "{answers}");
        together += answers.lines().filter(|answer| *answer == "1").count();
        with_rows += answers.lines().filter(|answer| *answer == "rows index").count();
    }
    assert!(together > JOINS / 4 && with_rows > JOINS / 4, "{together} together, {with_rows} had rows");
}

/// Nothing stays open of a search whose consumer asks for no further row, also if its pages are read from the
/// disk.
#[test]
fn searches_that_are_not_read_to_their_end() {
    const CONF: &[&str] = &["fsync = off", "autovacuum = off"];
    let server = Server::new("range_ends", CONF);
    server.fill("items", 768, 0..3000);
    server.sql("CREATE INDEX ON items USING ivf (embedding) WITH (lists = 12); ANALYZE items");
    let query = "(SELECT embedding FROM items WHERE id = 7)";
    let near = format!("FROM items WHERE embedding <-> {query} < 1000");
    for statement in [
        format!("SELECT count(*) FROM (SELECT 1 {near} LIMIT 1) x"),
        format!("SELECT EXISTS (SELECT {near})::int"),
        format!("BEGIN; DECLARE c CURSOR FOR SELECT 1 {near}; FETCH 1 FROM c; CLOSE c; COMMIT"),
        format!("BEGIN; DECLARE c CURSOR FOR SELECT 1 {near}; FETCH 1 FROM c; COMMIT"),
        format!("SELECT count(*) FROM (VALUES (1)) v, LATERAL (SELECT 1 {near} AND id > column1 LIMIT 1) x"),
    ] {
        server.stop("fast");
        server.restart(CONF);
        let answer = server.sql(&format!("SET enable_seqscan = off; {statement}"));
        assert_eq!(answer, "1", "{statement}");
    }
}
