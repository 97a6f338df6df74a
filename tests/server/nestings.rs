//! Random nestings of plan nodes over ordered scans and thresholds, by the index and without it.
//!
//! At target 1 every answer must be that of a sequential scan. At the usual target this holds for queries
//! that read their scans to the end: a LIMIT above an aggregate, a sort or a subquery does not allow an
//! approximation below it.

use crate::harness::{Server, literal, major};
use crate::random::Random;

const QUERIES: usize = 320;
const ROWS: usize = 3000;

/// Settings. Each query turns some of them off, so that plans have all kinds of nodes.
const NODES: [&str; 8] = [
    // From 16 on.
    "presorted_aggregate",
    "hashjoin",
    "mergejoin",
    "nestloop",
    "hashagg",
    "material",
    "memoize",
    "incremental_sort",
];

struct Generator {
    random: Random,
    /// Whether LIMITs are allowed only above nodes that read their input to the end.
    whole: bool,
    names: usize,
}

impl Generator {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.below(from.len())]
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("s{}", self.names)
    }

    fn limit(&mut self) -> String {
        let n = self.random.below(60);
        match self.random.below(4) {
            0 => format!("LIMIT {n} OFFSET {}", self.random.below(80)),
            1 => format!("LIMIT (SELECT {n})"),
            _ => format!("LIMIT {n}"),
        }
    }

    /// A condition that bounds the distance.
    fn threshold(&mut self, distance: &str) -> String {
        let r = 0.8 + self.random.below(100) as f64 / 60.0;
        match self.random.below(8) {
            0 => format!("{distance} <= {r}"),
            1 => format!("{r}::real > {distance}"),
            2 => format!("3 - 2 * ({distance}) > {}", 3.0 - 2.0 * r),
            3 => format!("({distance}) / 1000 < 1.7e308 AND {distance} < {r}"),
            4 => format!("{distance} < (SELECT {r})"),
            5 => "true".into(),
            _ => format!("{distance} < {r}"),
        }
    }

    /// A scan in the order of a distance, with columns id, g and d.
    fn scan(&mut self, target: Option<&str>) -> String {
        let t = self.name();
        let table = self.pick(&["items", "items", "parts"]);
        let target = target.map_or_else(
            || {
                format!(
                    "'{}'::vector",
                    literal(&(0..8).map(|_| self.random.signed_unit()).collect::<Vec<_>>())
                )
            },
            str::to_owned,
        );
        let distance = format!("{t}.embedding <-> {target}");
        let threshold = self.threshold(&distance);
        let filter = match self.random.below(4) {
            0 => format!("AND {t}.category < {}", self.random.below(25)),
            1 => format!("AND {t}.id % {} = 0", 1 + self.random.below(5)),
            _ => String::new(),
        };
        let (tie, limit) = match (self.whole, self.random.below(4)) {
            (false, 0) => (String::new(), self.limit()),
            (false, 1) => (format!(", {t}.id"), self.limit()),
            _ => (String::new(), String::new()),
        };
        format!(
            "SELECT {t}.id, {t}.category AS g, {distance} AS d FROM {table} {t}
             WHERE {threshold} {filter} ORDER BY {distance}{tie} {limit}"
        )
    }

    /// A query with columns id, g and d whose rows are the same however it is planned.
    fn rows(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.scan(None);
        }
        let below = self.rows(depth - 1);
        match self.random.below(4) {
            0 | 1 => self.consumed(&below),
            2 => self.combined(&below),
            _ => self.beside(&below),
        }
    }

    /// A query that reads the rows of another query one by one, or all at once.
    fn consumed(&mut self, below: &str) -> String {
        let (s, x) = (self.name(), self.name());
        match self.random.below(9) {
            0 => format!("SELECT max(id) AS id, g, min(d) AS d FROM ({below}) {s} GROUP BY g"),
            1 => format!("SELECT count(*)::int AS id, 0 AS g, max(d) AS d FROM ({below}) {s}"),
            2 => {
                let limit = self.limit();
                let groups =
                    format!("SELECT count(*)::int AS id, g, min(d) AS d FROM ({below}) {s} GROUP BY g");
                format!("SELECT * FROM ({groups}) {x} ORDER BY g {limit}")
            }
            3 => {
                let limit = self.limit();
                format!("SELECT * FROM ({below}) {s} ORDER BY id, g, d {limit}")
            }
            4 => format!("SELECT id, (row_number() OVER (ORDER BY d, id))::int AS g, d FROM ({below}) {s}"),
            5 => {
                let (all, most) = ("(count(*) OVER ())::int", "max(d) OVER (PARTITION BY g)");
                format!("SELECT {all} AS id, g, {most} AS d FROM ({below}) {s}")
            }
            6 => format!("SELECT DISTINCT ON (g) id, g, d FROM ({below}) {s} ORDER BY g, d, id"),
            7 => format!("SELECT DISTINCT 0 AS id, g, 0.0::float8 AS d FROM ({below}) {s}"),
            _ => {
                let limit = if self.whole { String::new() } else { self.limit() };
                format!("SELECT * FROM ({below}) {s} ORDER BY d, id, g {limit}")
            }
        }
    }

    /// Another query and a scan.
    fn combined(&mut self, below: &str) -> String {
        let (s, x, other) = (self.name(), self.name(), self.scan(None));
        let not = self.pick(&["", "NOT"]);
        match self.random.below(6) {
            0 | 1 => {
                let exists = format!("EXISTS (SELECT 1 FROM ({other}) {x} WHERE {x}.id = {s}.id)");
                format!("SELECT * FROM ({below}) {s} WHERE {not} {exists}")
            }
            2 => {
                format!(
                    "SELECT * FROM ({below}) {s} WHERE {s}.id {not} IN (SELECT {x}.id FROM ({other}) {x})"
                )
            }
            3 | 4 => {
                let operator = self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
                format!("({below}) {operator} ({other})")
            }
            _ => {
                let least = self.pick(&["min(x.d)", "max(-x.d)"]);
                format!("SELECT {s}.id, {s}.g, (SELECT {least} FROM ({other}) x) AS d FROM ({below}) {s}")
            }
        }
    }

    /// Joins, and scans that are restarted for each row of another table.
    fn beside(&mut self, below: &str) -> String {
        let (s, x) = (self.name(), self.name());
        match self.random.below(5) {
            0 => format!(
                "SELECT {s}.id, {x}.weight AS g, d FROM ({below}) {s} JOIN kinds {x} ON {x}.id = {s}.g"
            ),
            1 => {
                let materialized = self.pick(&["MATERIALIZED", "NOT MATERIALIZED"]);
                format!(
                    "WITH {s} AS {materialized} ({below})
                     SELECT a.id, b.g, b.d FROM {s} a JOIN {s} b ON a.id = b.id AND a.d = b.d"
                )
            }
            2 => {
                let each = self.scan(Some(&format!("{s}.embedding")));
                let rest = 400 + self.random.below(600);
                format!(
                    "SELECT {s}.id, (SELECT count(*) FROM ({each}) {x})::int AS g, {s}.category::float8 AS d
                     FROM items {s} WHERE {s}.id % {rest} = 0"
                )
            }
            _ => self.lateral(),
        }
    }

    /// A scan for each row of another table, at times limited: the inner side of a nested loop.
    fn lateral(&mut self) -> String {
        let (outer, n) = (self.name(), self.name());
        let each = self.scan(Some(&format!("{outer}.embedding")));
        let rest = 300 + self.random.below(600);
        let limit = if self.whole { String::new() } else { self.limit() };
        format!(
            "SELECT {n}.id, {outer}.id AS g, {n}.d FROM (SELECT * FROM items WHERE id % {rest} = 0) {outer},
             LATERAL ({each}) {n} ORDER BY d, id, g {limit}"
        )
    }

    /// A script that sorts its rows, so that their order does not depend on the plan.
    fn script(&mut self) -> String {
        let depth = self.random.below(4);
        let rows = self.rows(depth);
        let limit = if self.random.below(2) == 0 { self.limit() } else { String::new() };
        match self.random.below(12) {
            0 => format!(
                "BEGIN; UPDATE scratch SET d = s.d FROM (SELECT id, min(d) AS d FROM ({rows}) q GROUP BY id) s
                 WHERE scratch.id = s.id; SELECT * FROM scratch WHERE d > 0 ORDER BY id; ROLLBACK"
            ),
            1 => format!(
                "BEGIN; DELETE FROM scratch USING ({rows}) s WHERE scratch.id = s.id;
                 SELECT count(*), sum(id) FROM scratch; ROLLBACK"
            ),
            2 => format!(
                "BEGIN; INSERT INTO scratch {rows};
                 SELECT count(*), min(d), max(d), sum(id) FROM scratch; ROLLBACK"
            ),
            3 => {
                let hold = self.pick(&["", "WITH HOLD"]);
                format!(
                    "BEGIN; DECLARE c CURSOR {hold} FOR SELECT * FROM ({rows}) z ORDER BY 3, 1, 2;
                     FETCH 7 FROM c; FETCH ALL FROM c; CLOSE c; COMMIT"
                )
            }
            4 => "SELECT id FROM items WHERE embedding <-> '[1,0,0,0,0,0,0,0]' < 1.1
                  ORDER BY embedding <-> '[1,0,0,0,0,0,0,0]' FOR UPDATE"
                .into(),
            5 => format!("SELECT min(d), max(g), count(*) FROM ({rows}) z"),
            _ => format!("SELECT * FROM ({rows}) z ORDER BY 1, 2, 3 {limit}"),
        }
    }
}

/// The answers of one session to all scripts, each with its own settings.
fn answers(server: &Server, settings: &str, scripts: &[(String, String)]) -> Vec<String> {
    let mut all = format!("{settings};\n");
    for (i, (of_query, script)) in scripts.iter().enumerate() {
        let (off, on) = (of_query.replace('@', "off"), of_query.replace('@', "on"));
        all += &format!("\\echo #{i}\n{off}\n{script};\n{on}\n");
    }
    let out = server.sql(&all);
    out.split('#').skip(1).map(|answer| answer.trim().to_owned()).collect()
}

fn scripts(whole: bool, seed: u64) -> Vec<(String, String)> {
    let mut generator = Generator { random: Random(seed), whole, names: 0 };
    let mut each = || {
        let off: Vec<String> = NODES
            .iter()
            .skip(usize::from(major() < 16))
            .filter(|_| generator.random.below(4) == 0)
            .map(|node| format!("SET enable_{node} = @;"))
            .collect();
        (off.join(" "), generator.script())
    };
    (0..QUERIES / 2).map(|_| each()).collect()
}

#[test]
fn nested_plans_agree_with_sequential_scans() {
    let server = Server::new("nestings", &["fsync = off", "autovacuum = off", "jit = off"]);
    server.fill("items", 8, 0..ROWS as u32);
    server.sql(
        "UPDATE items SET category = id % 21;
         CREATE INDEX ON items USING ivf (embedding, category) WITH (lists = 40);
         CREATE TABLE parts (LIKE items) PARTITION BY HASH (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO parts SELECT * FROM items; CREATE INDEX ON parts USING ivf (embedding) WITH (lists = 20);
         CREATE TABLE kinds AS SELECT i AS id, i * 3 % 7 AS weight FROM generate_series(0, 20) i;
         CREATE TABLE scratch AS SELECT id, category AS g, 0.0::float8 AS d FROM items WHERE id % 3 = 0;
         VACUUM ANALYZE",
    );
    let without = "SET enable_indexscan = off; SET enable_bitmapscan = off";
    let with = "SET enable_seqscan = off; SET enable_sort = off";
    for (whole, seed) in [(true, 16), (false, 17)] {
        let scripts = scripts(whole, seed);
        let truth = answers(&server, without, &scripts);
        let exact = answers(&server, &format!("{with}; SET ivf.recall_target = 1"), &scripts);
        let usual = answers(&server, with, &scripts);
        assert_eq!([truth.len(), exact.len(), usual.len()], [scripts.len(); 3]);
        for (i, (settings, script)) in scripts.iter().enumerate() {
            assert_eq!(exact[i], truth[i], "at target 1: {settings} {script}");
            assert!(!whole || usual[i] == truth[i], "consumed whole: {settings} {script}");
        }
        // The nestings are over scans of the index, and not all of them are empty.
        let plans: Vec<_> = scripts
            .iter()
            .filter(|(_, script)| !script.starts_with("BEGIN"))
            .map(|(settings, script)| (settings.clone(), format!("EXPLAIN {script}")))
            .collect();
        let by_index = answers(&server, with, &plans).iter().filter(|p| p.contains("Order By:")).count();
        assert!(5 * by_index > 3 * plans.len(), "{by_index} of {}", plans.len());
        let rows = truth.iter().filter(|answer| answer.lines().count() > 2).count();
        assert!(5 * rows > 2 * scripts.len(), "{rows} with rows");
    }
}
