//! Random conditions on filter columns, joined by AND, OR and NOT, answered with the index and by a
//! sequential scan.

use std::fmt::Write;

use crate::harness::Server;
use crate::random::Random;

const CASES: usize = 1500;

/// Returns whether the index and a sequential scan give the same rows, and whether the index left out any.
const FUNCTIONS: &str = "
    CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE rows text;
    BEGIN
        EXECUTE format('SELECT string_agg(x::text, '' '' ORDER BY x::text) FROM (%s) x', query) INTO rows;
        RETURN coalesce(rows, '');
    END $$;
    CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE found text; truth text; left_out int;
    BEGIN
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
            set_config('ivf.recall_target', '1', true);
        found = answer(query);
        left_out = (ivf_last_scan()->>'excluded')::int;
        PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true),
            set_config('enable_sort', 'on', true);
        truth = answer(query);
        PERFORM set_config('enable_indexscan', 'on', true);
        IF found <> truth THEN
            RETURN format(E'DIFFERENT %s\\n%s\\n%s', query, left(found, 300), left(truth, 300));
        END IF;
        RETURN format('%s %s', CASE WHEN truth = '' THEN 'empty' ELSE 'rows' END,
            CASE WHEN left_out > 0 THEN 'left out' ELSE 'none' END);
    END $$;";

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len())]
}

/// A column, the operators of its class and their negators, and values.
const COLUMNS: [(&str, &[&str], &[&str]); 8] = [
    ("t.a", &["<", "<=", "=", ">=", ">", "<>"], &["3", "7", "12::int8", "20000000000", "NULL", "o.a", "-1"]),
    ("t.w", &["<", "<=", "=", ">=", ">", "<>"], &["3", "70000000000", "NULL", "o.a", "o.w", "5::int2"]),
    ("t.r", &["<", "<=", "=", ">=", ">", "<>"], &["0.1", "0.125", "'NaN'", "1.5::float4", "NULL"]),
    ("t.n", &["<", "<=", "=", ">=", ">", "<>"], &["2", "0.3333333333333333333333", "'NaN'", "1e400", "NULL"]),
    ("t.s", &["=", "<>", "<"], &["'text 3'", "'text 1'", "''", "NULL", "o.s"]),
    ("t.u", &["<", "<=", "=", ">=", ">", "<>"], &["md5('7')::uuid", "md5('3')::uuid", "NULL"]),
    ("t.tags", &["@>", "&&", "="], &["'{l1}'", "'{l3,l4}'", "'{}'", "NULL", "ARRAY[o.s, 'l1']"]),
    ("(t.a % 5)", &["<", "=", "<>", ">"], &["2", "3", "NULL", "o.a"]),
];

fn condition(random: &mut Random) -> String {
    let (column, operators, values) = COLUMNS[random.below(COLUMNS.len())];
    let (operator, value) = (pick(random, operators), pick(random, values));
    match random.below(12) {
        0 => format!("{column} IS {}NULL", pick(random, &["", "NOT "])),
        1 => pick(random, &["t.flag", "NOT t.flag", "t.flag IS NOT TRUE", "t.flag IS UNKNOWN"]).to_owned(),
        2 => {
            format!("t.flag {} {}", pick(random, &["=", "<>", "<"]), pick(random, &["true", "false", "NULL"]))
        }
        3 | 4 if column == "t.a" || column == "t.s" => {
            let array = match column {
                "t.a" => {
                    pick(random, &["'{3,5,9}'", "'{3,NULL}'", "'{}'", "NULL", "'{4}'", "'{3,20}'::int8[]"])
                }
                _ => pick(random, &["'{text 1,text 5}'", "'{text 2,NULL}'", "'{}'::text[]"]),
            };
            let operator = if column == "t.s" { pick(random, &["=", "<>"]) } else { operator };
            let array = if array == "NULL" { "NULL::int[]" } else { array };
            format!("{column} {operator} {} ({array})", pick(random, &["ANY", "ALL"]))
        }
        // A condition that the index does not know.
        5 => format!("t.id % 3 = {}", random.below(3)),
        6 if operator != "@>" => {
            let mirrored = ["<", "<=", "=", ">=", ">", "<>", "&&"].iter().position(|of| *of == operator);
            let mirrored = [">", ">=", "=", "<=", "<", "<>", "&&"][mirrored.unwrap()];
            format!("{value} {mirrored} {column}")
        }
        _ => format!("{column} {operator} {value}"),
    }
}

fn tree(random: &mut Random, depth: usize) -> String {
    let parts = |random: &mut Random, joined: &str| {
        let parts: Vec<String> = (0..2 + random.below(2)).map(|_| tree(random, depth - 1)).collect();
        format!("({})", parts.join(joined))
    };
    match random.below(7) {
        0 | 1 if depth > 0 => parts(random, " AND "),
        2 | 3 if depth > 0 => parts(random, " OR "),
        4 if depth > 0 => format!("(NOT {})", tree(random, depth - 1)),
        _ => condition(random),
    }
}

/// A query whose rows do not depend on how rows at equal distances are ordered.
fn query(random: &mut Random) -> String {
    let filter = tree(random, 3);
    let row = random.below(900);
    let target = format!("(SELECT embedding FROM items WHERE id = {row})");
    let one = format!("(SELECT * FROM items WHERE id IN ({row}, {})) o", row + 7);
    match random.below(4) {
        0 => {
            let within = format!("t.embedding <-> o.embedding < {}", pick(random, &["1.1", "0.8"]));
            format!("SELECT o.id AS a, t.id FROM {one}, items t WHERE {within} AND {filter}")
        }
        1 => {
            let each = format!(
                "SELECT t.embedding <-> o.embedding AS d FROM items t WHERE {filter} ORDER BY d LIMIT {}",
                1 + random.below(40)
            );
            format!("SELECT o.id, n.d FROM {one}, LATERAL ({each}) n")
        }
        _ => {
            let filter = filter
                .replace("ARRAY[o.s, 'l1']", "ARRAY[(SELECT 'l2'), 'l1']")
                .replace("o.a", "(SELECT 7)")
                .replace("o.w", "(SELECT 70000000000)")
                .replace("o.s", "(SELECT 'text 4')");
            let limit = 1 + random.below(60);
            let order = format!("ORDER BY t.embedding <-> {target}");
            format!("SELECT t.embedding <-> {target} AS d FROM items t WHERE {filter} {order} LIMIT {limit}")
        }
    }
}

#[test]
fn random_filters_agree_with_sequential_scans() {
    let server = Server::new("filter-clauses", &["fsync = off", "autovacuum = off", "jit = off"]);
    server.fill("items", 8, 0..3000);
    server.sql(&format!(
        "{FUNCTIONS}
         ALTER TABLE items ADD a int, ADD w bigint, ADD r real, ADD n numeric, ADD flag bool, ADD s text,
             ADD u uuid, ADD tags text[];
         UPDATE items SET a = id % 15, w = id % 14 * 10000000000, r = (id % 16) / 8.0, n = (id % 9) / 3.0,
             flag = id % 3 = 0, s = 'text ' || id % 8, u = md5((id % 9)::text)::uuid,
             tags = ARRAY['l' || id % 5, 'l' || id % 7];
         UPDATE items SET a = NULL, w = NULL, r = NULL WHERE id % 11 = 0;
         UPDATE items SET n = NULL, flag = NULL, s = NULL, u = NULL, tags = NULL WHERE id % 7 = 0;
         UPDATE items SET r = 'NaN', n = 'NaN', tags = '{{}}' WHERE id % 51 = 0;
         CREATE INDEX ON items USING ivf (embedding, a, w, r, n, flag, s, u, tags, (a % 5)) WITH (lists = 25);
         DELETE FROM items WHERE id % 9 = 4; ANALYZE"
    ));
    let mut random = Random(20_261_129);
    let (mut left_out, mut with_rows) = (0, 0);
    for _ in 0..CASES / 100 {
        let mut script = String::new();
        for _ in 0..100 {
            writeln!(script, "SELECT compare($q${}$q$);", query(&mut random)).unwrap();
        }
        let answers = server.sql(&script);
        assert!(!answers.contains("DIFFERENT"), "{answers}");
        left_out += answers.lines().filter(|line| line.ends_with("left out")).count();
        with_rows += answers.lines().filter(|line| line.starts_with("rows")).count();
    }
    assert!(left_out > CASES / 3 && with_rows > CASES / 2, "{left_out} left rows out, {with_rows} had rows");
}
