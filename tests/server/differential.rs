//! Random queries, answered with and without the index: filters, joins, subqueries, limits, partitions.

use crate::harness::{Server, literal};
use crate::random::Random;

const QUERIES: usize = 150;

struct Query {
    sql: String,
    /// Whether the rows of a LIMIT are final rows of the query, so that their number must agree.
    whole: bool,
}

fn query(random: &mut Random) -> Query {
    let pick = |random: &mut Random, from: &[&str]| from[random.below(from.len())].to_owned();
    let operator = pick(random, &["<->", "<=>", "<#>", "<+>"]);
    let target = literal(&(0..8).map(|_| random.signed_unit()).collect::<Vec<_>>());
    let table = if operator == "<->" { pick(random, &["items", "parts"]) } else { "items".into() };
    let filter = match random.below(10) {
        0 => format!("AND t.category = {}", random.below(22)),
        1 => format!("AND t.category < {}", random.below(20)),
        2 => format!("AND t.id % {} = 0", 1 + random.below(3000)),
        3 => format!(
            "AND EXISTS (SELECT 1 FROM categories c WHERE c.id = t.category AND c.weight < {})",
            random.below(8)
        ),
        4 => format!("AND t.id = {}", random.below(15_000)),
        5 => format!(
            "AND t.category IN ({}, {}) AND t.id > {}",
            random.below(22),
            random.below(22),
            random.below(9000)
        ),
        6 => format!("AND t.category IS {} NULL", ["", "NOT"][random.below(2)]),
        _ => String::new(),
    };
    let limit = match random.below(5) {
        0 => String::new(),
        1 => format!("LIMIT {} OFFSET {}", 1 + random.below(30), random.below(300)),
        2 => format!("LIMIT (SELECT {})", random.below(20)),
        _ => format!("LIMIT {}", 1 + random.below(60)),
    };
    let ordered = |target: &str| {
        format!(
            "SELECT t.embedding {operator} {target} AS d FROM {table} t WHERE t.embedding IS NOT NULL {filter}
             ORDER BY t.embedding {operator} {target} {limit}"
        )
    };
    let target = format!("'{target}'::vector");
    match random.below(6) {
        0 => Query { sql: format!("SELECT d FROM ({}) s WHERE d > 0.3", ordered(&target)), whole: false },
        1 => {
            let (a, b) = (random.below(9000), random.below(9000));
            let each = ordered("a.embedding");
            let sql = format!(
                "SELECT n.d FROM (SELECT * FROM items WHERE id IN ({a}, {b})) a, LATERAL ({each}) n \
                 ORDER BY d"
            );
            Query { sql, whole: true }
        }
        2 => {
            let sql = format!(
                "SELECT t.embedding {operator} {target} AS d FROM {table} t JOIN categories k \
                 ON k.id = t.category
                 WHERE k.weight < 5 {filter} ORDER BY t.embedding {operator} {target} {limit}"
            );
            Query { sql, whole: false }
        }
        _ => Query { sql: ordered(&target), whole: true },
    }
}

#[test]
fn random_queries_agree_with_sequential_scans() {
    let server = Server::new("differential", &["fsync = off", "autovacuum = off", "jit = off"]);
    server.fill("items", 8, 0..12_000);
    server.sql(
        "UPDATE items SET category = id % 21; INSERT INTO items SELECT i, NULL, NULL \
         FROM generate_series(20001, 20050) i;
         CREATE INDEX ON items USING ivf (embedding, category);
         CREATE INDEX ON items USING ivf (embedding vector_cosine_ops, id, category) WITH (lists = 30);
         CREATE INDEX ON items USING ivf (embedding vector_ip_ops) WITH (lists = 17, bits = 8);
         CREATE INDEX ON items USING ivf (embedding vector_l1_ops, category, id) WITH (lists = 23);
         CREATE TABLE parts (LIKE items) PARTITION BY HASH (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         INSERT INTO parts SELECT * FROM items; CREATE INDEX ON parts USING ivf (embedding, category);
         CREATE TABLE categories AS SELECT i AS id, i * 3 % 7 AS weight FROM generate_series(0, 20) i; \
         ANALYZE",
    );
    let without = "SET enable_indexscan = off; SET enable_bitmapscan = off";
    let with = "SET enable_seqscan = off; SET enable_sort = off; SET enable_mergejoin = off";
    let mut random = Random(20_261_124);
    for _ in 0..QUERIES {
        let Query { sql, whole } = query(&mut random);
        let truth = server.sql(&format!("{without}; {sql}"));
        let exact = server.sql(&format!("{with}; SET ivf.recall_target = 1; {sql}"));
        assert_eq!(exact, truth, "{sql}");
        let values = |rows: &str| rows.lines().map(|l| l.parse::<f64>().unwrap()).collect::<Vec<_>>();
        let (found, truth) = (values(&server.sql(&format!("{with}; {sql}"))), values(&truth));
        assert!(!whole || found.len() == truth.len(), "{} rows of {}: {sql}", found.len(), truth.len());
        assert!(found.is_sorted(), "out of order: {sql}");
        if whole {
            assert!(found.iter().zip(&truth).all(|(f, t)| f >= t), "nearer than the nearest: {sql}");
        }
    }
}
