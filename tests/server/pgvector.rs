//! Compares our types with pgvector's in one backend. Every function, operator, cast, input and output must
//! give the same value, or the same SQLSTATE and message. Skipped where the server has no pgvector.
//!
//! Intended differences are in `pgvector_differences.txt`, one a line: a part of the expression, a tab, the
//! reason.

use crate::harness::Server;
use crate::random::Random;
use std::fmt::Write as _;

/// Numbers, ordinary and hostile.
const NUMBERS: [&str; 40] = [
    "0",
    "1",
    "-1",
    "0.5",
    "2",
    "3",
    "-0",
    "1e-45",
    "1e-46",
    "-1e-50",
    "3.4028235e38",
    "3.5e38",
    "-1e400",
    "65504",
    "65519",
    "65520",
    "1e-8",
    "6e-8",
    "2.9e-8",
    "nan",
    "inf",
    "-Infinity",
    "0x1p3",
    "1.",
    ".5",
    "+1",
    "1e",
    "",
    "1 2",
    "null",
    "abc",
    "16777217",
    "0.1",
    "1.17549435e-38",
    "123456.789",
    "1e10",
    "-3.25",
    "4e4",
    "9.999999",
    "- 1",
];

/// Numbers that every type accepts.
const PLAIN: [&str; 12] = ["0", "1", "-1", "0.5", "2", "3", "-3.25", "0.1", "7", "-2", "60000", "0.0001"];

struct Inputs(Random);

impl Inputs {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.0.below(from.len())]
    }

    fn numbers(&mut self, pool: &[&str], count: usize) -> Vec<String> {
        (0..count).map(|_| (*self.pick(pool)).to_owned()).collect()
    }

    /// A literal that is usually valid.
    fn dense(&mut self, dims: usize) -> String {
        format!("[{}]", self.numbers(&PLAIN, dims).join(","))
    }

    fn sparse(&mut self, dims: usize) -> String {
        let mut elements = Vec::new();
        for index in 1..=dims {
            if self.0.below(2) == 0 {
                elements.push(format!("{index}:{}", self.pick(&PLAIN)));
            }
        }
        format!("{{{}}}/{dims}", elements.join(","))
    }

    fn value(&mut self, name: &str, dims: usize) -> String {
        let literal = if name == "sparsevec" { self.sparse(dims) } else { self.dense(dims) };
        format!("'{literal}'::{name}")
    }

    /// A literal that is usually invalid.
    fn odd(&mut self, name: &str) -> String {
        let count = 1 + self.0.below(4);
        let numbers = self.numbers(&NUMBERS, count);
        let separator = *self.pick(&[",", ",", " , ", ",\\t", ";", ",,", " "]);
        if name != "sparsevec" {
            let body = numbers.join(separator);
            let shape = *self.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
            return match shape {
                0 => format!("[{body}]"),
                1 => format!(" [ {body} ] "),
                2 => body,
                3 => format!("[{body}"),
                4 => format!("[{body}]x"),
                5 => format!("{{{body}}}"),
                6 => "[]".into(),
                _ => format!("[{body},]"),
            };
        }
        let indices =
            ["1", "2", "3", "5", "0", "-1", "+2", "x", "", "2147483648", "-99999999999", "1000000000"];
        let body: Vec<String> = numbers.iter().map(|n| format!("{}:{n}", self.pick(&indices))).collect();
        let body = body.join(separator);
        let dims = *self.pick(&[
            "5",
            "5",
            "5",
            "3",
            "0",
            "-1",
            "1000000000",
            "1000000001",
            "99999999999",
            "",
            "x",
            "5 5",
        ]);
        match *self.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5]) {
            0 => format!("{{{body}}}/{dims}"),
            1 => format!(" {{ {body} }} / {dims} "),
            2 => format!("{{{body}}}"),
            3 => format!("{{}}/{dims}"),
            4 => format!("[{body}]/{dims}"),
            _ => format!("{{{body}/{dims}"),
        }
    }
}

/// States of averages. Only the first three can come from an aggregate.
const STATES: [&str; 28] = [
    "{0}",
    "{1,2,3}",
    "{2,1,1}",
    "{}",
    "{1,NULL}",
    "{NULL,1}",
    "{{1},{2}}",
    "{{1,2}}",
    "{0,5}",
    "{0,5,6}",
    "{-0,5}",
    "{1}",
    "{1,1e308}",
    "{1,-1e308}",
    "{3,1e39}",
    "{1,7e4}",
    "{NaN,1}",
    "{1,NaN}",
    "{NaN}",
    "{-1,2,3}",
    "{Infinity,1}",
    "{-Infinity,1}",
    "{1,Infinity}",
    "{1e-320,1}",
    "[0:0]={0}",
    "[0:2]={1,2,3}",
    "[-5:-4]={2,4}",
    "[2:2]={1}",
];

const TYPES: [&str; 3] = ["vector", "halfvec", "sparsevec"];

/// Expressions whose results must be the same to the letter.
fn exact(inputs: &mut Inputs) -> Vec<String> {
    let mut all = Vec::new();
    for name in TYPES {
        texts_and_orders(name, inputs, &mut all);
        conversions(name, inputs, &mut all);
    }
    for name in ["vector", "halfvec"] {
        arithmetic(name, inputs, &mut all);
        states(name, &mut all);
        aggregates(name, inputs, &mut all);
    }
    bits(inputs, &mut all);
    for pair in [
        "'[1]'::vector = '{1}'::real[]",
        "ARRAY[1,2,3] = ARRAY[1,2,3]",
        "'[1]'::vector <-> '[1]'::halfvec",
        "'[1]'::halfvec <-> '{1:1}/1'::sparsevec",
        "'[1]'::vector + '[1]'::halfvec",
        "'[1]'::vector = '[1]'::halfvec",
    ] {
        all.push(pair.into());
    }
    all
}

/// Text and binary forms, type modifiers, sizes, comparisons.
fn texts_and_orders(name: &str, inputs: &mut Inputs, all: &mut Vec<String>) {
    for _ in 0..1500 {
        let literal = inputs.odd(name);
        let typmod = *inputs.pick(&["", "", "", "(3)", "(1)"]);
        all.push(format!("E'{literal}'::{name}{typmod}"));
        all.push(format!("encode({name}_send(E'{literal}'::{name}), 'hex')"));
    }
    for typmod in ["(0)", "(-1)", "(16001)", "(16000)", "(1000000001)", "(3,3)", "('x')", "(99999999999)"] {
        all.push(format!("'[1,2,3]'::{name}{typmod}"));
        all.push(format!("format_type('{name}'::regtype, {name}_typmod_in('{{3}}'))"));
    }
    for count in [15_999, 16_000, 16_001] {
        all.push(format!("length(('[' || repeat('0,', {count} - 1) || '0]')::{name}::text)"));
        all.push(format!("length(array_fill(1, ARRAY[{count}])::{name}::text)"));
        all.push(format!("length(('{{1:1}}/{count}')::sparsevec::{name}::text)"));
        all.push(format!("l2_norm(array_fill(1, ARRAY[{count}])::sparsevec)"));
    }
    for operator in ["<", "<=", "=", "<>", ">=", ">"] {
        for _ in 0..150 {
            let (a, b) = (1 + inputs.0.below(3), 1 + inputs.0.below(3));
            all.push(format!("{} {operator} {}", inputs.value(name, a), inputs.value(name, b)));
        }
    }
    for _ in 0..100 {
        let (a, b) = (1 + inputs.0.below(3), 1 + inputs.0.below(3));
        all.push(format!("{name}_cmp({}, {})", inputs.value(name, a), inputs.value(name, b)));
    }
}

/// Casts to other types and from arrays.
fn conversions(name: &str, inputs: &mut Inputs, all: &mut Vec<String>) {
    for to in [
        "vector",
        "halfvec",
        "sparsevec",
        "vector(2)",
        "halfvec(2)",
        "sparsevec(2)",
        "real[]",
        "float8[]",
        "text",
    ] {
        for _ in 0..60 {
            let dims = 1 + inputs.0.below(3);
            all.push(format!("{}::{to}", inputs.value(name, dims)));
            let literal = inputs.odd(name);
            all.push(format!("E'{literal}'::{name}::{to}"));
        }
    }
    for element in ["int4", "float4", "float8", "numeric", "int8", "text"] {
        for _ in 0..60 {
            let pool = ["1", "0", "-2", "70000", "1e39", "NaN", "Infinity", "NULL", "0.5", "1e-50", "65519"];
            let count = 1 + inputs.0.below(3);
            let body = inputs.numbers(&pool, count).join(",");
            let typmod = *inputs.pick(&["", "", "(2)"]);
            all.push(format!("'{{{body}}}'::{element}[]::{name}{typmod}"));
        }
        for array in ["{}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{NULL}"] {
            all.push(format!("'{array}'::{element}[]::{name}"));
        }
    }
}

/// Operators and functions of dense types.
fn arithmetic(name: &str, inputs: &mut Inputs, all: &mut Vec<String>) {
    for operator in ["+", "-", "*", "||"] {
        for _ in 0..150 {
            let (a, b) = (1 + inputs.0.below(3), 1 + inputs.0.below(3));
            all.push(format!("{} {operator} {}", inputs.value(name, a), inputs.value(name, b)));
            let (a, b) = (inputs.odd(name), inputs.odd(name));
            all.push(format!("E'{a}'::{name} {operator} E'{b}'::{name}"));
        }
    }
    for _ in 0..150 {
        let dims = 1 + inputs.0.below(20);
        let value = inputs.value(name, dims);
        let bounds = ["0", "1", "2", "3", "-1", "-2147483648", "2147483647", "25"];
        let (start, count) = (*inputs.pick(&bounds), *inputs.pick(&bounds));
        all.push(format!("subvector({value}, {start}, {count})"));
        all.push(format!("binary_quantize({value})"));
        all.push(format!("vector_dims({value})"));
    }
    for size in [8000, 8001] {
        let long = format!("array_fill(1, ARRAY[{size}])::{name}");
        all.push(format!("vector_dims({long} || {long})"));
    }
}

/// States of aggregates, also of other forms than aggregates produce.
fn states(name: &str, all: &mut Vec<String>) {
    let long = |count| format!("array_fill(1::float8, ARRAY[{count}])");
    for state in STATES.map(|state| format!("'{state}'")).into_iter().chain([long(16_001), long(16_002)]) {
        all.push(format!("{name}_avg({state})"));
        for value in ["[1,2]", "[1]", "[1,2,3]"] {
            all.push(format!("{name}_accum({state}, '{value}')"));
        }
        for other in STATES.map(|other| format!("'{other}'")).into_iter().chain([long(16_002)]) {
            all.push(format!("{name}_combine({state}, {other})"));
        }
    }
    for (initial, value) in [("{0}", "[1,2]"), ("[0:2]={0,1,2}", "[1,2]"), ("{3}", "[1]"), ("{0,5}", "[1,2]")]
    {
        all.push(format!(
            "(SELECT {name}_accum({name}_accum('{initial}', x), x) \
             FROM (VALUES ('{value}'::{name})) t (x))"
        ));
    }
}

/// Averages and sums.
fn aggregates(name: &str, inputs: &mut Inputs, all: &mut Vec<String>) {
    for aggregate in ["avg", "sum"] {
        for _ in 0..60 {
            let rows: Vec<String> = (0..1 + inputs.0.below(4))
                .map(|_| {
                    let dims = *inputs.pick(&[2, 2, 2, 2, 3]);
                    if inputs.0.below(6) == 0 {
                        format!("(NULL::{name})")
                    } else {
                        format!("({})", inputs.value(name, dims))
                    }
                })
                .collect();
            all.push(format!("(SELECT {aggregate}(x) FROM (VALUES {}) t (x))", rows.join(",")));
        }
        all.push(format!("(SELECT {aggregate}(x) FROM (SELECT NULL::{name} WHERE false) t (x))"));
        let large = if name == "vector" { "[3e38]" } else { "[60000]" };
        all.push(format!("(SELECT {aggregate}(x) FROM (VALUES ('{large}'::{name}), ('{large}')) t (x))"));
    }
}

/// Distances of bit strings.
fn bits(inputs: &mut Inputs, all: &mut Vec<String>) {
    for function in ["hamming_distance", "jaccard_distance"] {
        for _ in 0..200 {
            let bits = |inputs: &mut Inputs| {
                let length = *inputs.pick(&[0, 1, 7, 8, 9, 9, 9, 64, 65, 200]);
                (0..length).map(|_| if inputs.0.below(2) == 0 { '0' } else { '1' }).collect::<String>()
            };
            let (a, b) = (bits(inputs), bits(inputs));
            all.push(format!("{function}(B'{a}', B'{b}')"));
            let operator = if function.starts_with('h') { "<~>" } else { "<%>" };
            all.push(format!("B'{a}' {operator} B'{b}'"));
        }
    }
}

/// Expressions whose numbers are sums: the order of summation may show in the last digits.
fn rounded(inputs: &mut Inputs) -> Vec<String> {
    let mut all = Vec::new();
    let large = ["'[3e38,0]'", "'[-3e38,1]'", "'[1e-30,0]'", "'[0,0]'", "'[1e20,1e20]'", "'[1,1,1]'"];
    for name in TYPES {
        for operator in ["<->", "<#>", "<=>", "<+>"] {
            for _ in 0..200 {
                let a = *inputs.pick(&[1, 2, 3, 17, 40, 100]);
                let b = if inputs.0.below(10) == 0 { a + 1 } else { a };
                all.push(format!("{} {operator} {}", inputs.value(name, a), inputs.value(name, b)));
            }
            for a in large {
                for b in large {
                    all.push(format!("{a}::vector::{name} {operator} {b}::vector::{name}"));
                }
            }
        }
        for function in [
            "l2_distance",
            "inner_product",
            "cosine_distance",
            "l1_distance",
            "@_l2_squared_distance",
            "@_negative_inner_product",
            "@_spherical_distance",
        ] {
            let function = function.replace('@', name);
            for _ in 0..50 {
                let (a, b) = (inputs.value(name, 9), inputs.value(name, 9));
                all.push(format!("{function}({a}, {b})"));
            }
        }
        for function in ["l2_norm", "vector_norm", "l2_normalize"] {
            for _ in 0..50 {
                let dims = 1 + inputs.0.below(20);
                all.push(format!("{function}({})", inputs.value(name, dims)));
            }
            for value in large {
                all.push(format!("{function}({value}::vector::{name})"));
            }
        }
    }
    all
}

/// The binary form of one column of one row, as COPY reads it.
fn copies(inputs: &mut Inputs) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let int = |n: i64, bytes: usize| n.to_be_bytes()[8 - bytes..].to_vec();
    for name in TYPES {
        for _ in 0..60 {
            let mut field = Vec::new();
            let count = *inputs.pick(&[0i64, 1, 2, 2, 3, 3]);
            let stated = *inputs.pick(&[count, count, count, count, count, count + 1, -1]);
            let unused = *inputs.pick(&[0i64, 0, 0, 0, 0, 7]);
            let values = [1.5f32, 1.0, -2.0, 0.0, f32::NAN, f32::INFINITY, 3.0, 4.0];
            if name == "sparsevec" {
                let dims = *inputs.pick(&[5i64, 5, 5, 2, 0, -1, 1_000_000_001]);
                field.extend([int(dims, 4), int(stated, 4), int(unused, 4)].concat());
                for i in 0..count {
                    field.extend(int(*inputs.pick(&[i, i, i, i, i + 1, -1, 9]), 4));
                }
                (0..count).for_each(|_| field.extend(inputs.pick(&values).to_be_bytes()));
            } else {
                field.extend([int(stated, 2), int(unused, 2)].concat());
                for _ in 0..count {
                    let value = *inputs.pick(&values);
                    match name {
                        "vector" => field.extend(value.to_be_bytes()),
                        _ => field.extend(half::f16::from_f32(value).to_be_bytes()),
                    }
                }
            }
            if inputs.0.below(8) == 0 {
                field.push(1);
            }
            let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
            bytes.extend(int(1, 2));
            bytes.extend(int(field.len() as i64, 4));
            bytes.extend(field);
            bytes.extend(int(-1, 2));
            let typmod = *inputs.pick(&["", "", "(3)"]);
            let column = match (name, typmod) {
                ("vector", "") => "vector",
                ("vector", _) => "vector(3)",
                ("halfvec", "") => "halfvec",
                ("halfvec", _) => "halfvec(3)",
                (_, "") => "sparsevec",
                _ => "sparsevec(3)",
            };
            all.push((
                column,
                bytes.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                }),
            ));
        }
    }
    all
}

const SET_UP: &str = r"
CREATE SCHEMA ours; CREATE SCHEMA theirs;
ALTER EXTENSION vector_search SET SCHEMA ours;
CREATE EXTENSION vector SCHEMA theirs;
CREATE FUNCTION public.answer(place text, expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text; detail text;
BEGIN
    PERFORM set_config('search_path', place, true);
    EXECUTE 'SELECT (' || expression || ')::text' INTO result;
    RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || SQLERRM || ' ' || detail;
END $$;
CREATE FUNCTION public.copied(place text, column_type text, hex text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text; file text := current_setting('data_directory') || '/copied';
BEGIN
    PERFORM set_config('search_path', place, true);
    EXECUTE format('COPY (SELECT %L) TO PROGRAM %L', hex, 'perl -ne ''chomp; print pack(qq(H*), $_)'' > '
    || file);
    EXECUTE format('CREATE TEMP TABLE t (x %s)', column_type);
    EXECUTE format('COPY pg_temp.t FROM %L (FORMAT binary)', file);
    EXECUTE 'SELECT x::text FROM pg_temp.t' INTO result;
    DROP TABLE pg_temp.t;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE TABLE public.asked (id int, expression text);
";

/// The text without its numbers, and the numbers.
fn split(text: &str) -> (String, Vec<f64>) {
    let (mut frame, mut numbers, mut word) = (String::new(), Vec::new(), String::new());
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || "+-.".contains(c) {
            word.push(c);
            continue;
        }
        match word.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => frame.push_str(&word),
        }
        word.clear();
        frame.push(c);
    }
    (frame, numbers)
}

fn close(a: &str, b: &str) -> bool {
    let ((a, x), (b, y)) = (split(a), split(b));
    let near =
        |(x, y): (&f64, &f64)| x == y || (x - y).abs() <= 2e-6 * x.abs().max(1.0) || x.is_nan() && y.is_nan();
    a == b && x.len() == y.len() && x.iter().zip(&y).all(near)
}

fn differences() -> Vec<String> {
    let lines = include_str!("pgvector_differences.txt").lines();
    lines.filter_map(|l| l.split_once('\t')).map(|(part, _)| part.to_owned()).collect()
}

fn compare(server: &Server, expressions: &[String], same: fn(&str, &str) -> bool) {
    let mut copy = String::from("TRUNCATE public.asked; COPY public.asked FROM stdin;\n");
    for (id, expression) in expressions.iter().enumerate() {
        writeln!(copy, "{id}\t{}", expression.replace('\\', "\\\\")).unwrap();
    }
    copy.push_str(
        "\\.\nSELECT id, public.answer('ours', expression), public.answer('theirs', expression) \
         FROM public.asked ORDER BY id;\n",
    );
    let answers = server.sql(&format!("\\pset fieldsep '\\t'\n\\pset recordsep '\\x01'\n{copy}"));
    let known = differences();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for answer in answers.split('\u{1}').filter(|a| !a.trim().is_empty()) {
        let mut fields = answer.splitn(2, '\t');
        let id: usize = fields.next().unwrap().trim().parse().unwrap();
        let rest = fields.next().unwrap();
        // A message may contain a tab of its input. Then both halves contain the same number of tabs.
        let tabs: Vec<usize> = rest.match_indices('\t').map(|(at, _)| at).collect();
        let middle = tabs[tabs.len() / 2];
        let (ours, theirs) = (&rest[..middle], &rest[middle + 1..]);
        seen += 1;
        if !same(ours, theirs) && !known.iter().any(|part| expressions[id].contains(part)) {
            wrong.push(format!("{}\n    ours   {ours}\n    theirs {theirs}", expressions[id]));
        }
    }
    assert_eq!(seen, expressions.len());
    assert!(
        wrong.is_empty(),
        "{} of {seen} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

/// Whether pgvector can be created on this server (not ours under its name).
pub fn has_pgvector(server: &Server) -> bool {
    let theirs =
        "SELECT count(*) > 0 FROM pg_available_extension_versions WHERE name = 'vector' AND requires IS NULL";
    let has = server.sql(theirs) == "t";
    if !has {
        eprintln!("skipped: this server has no pgvector");
    }
    has
}

#[test]
fn types_answer_as_pgvectors() {
    let server = Server::new("pgvector", &["fsync = off"]);
    if !has_pgvector(&server) {
        return;
    }
    server.sql(SET_UP);
    let mut inputs = Inputs(Random(20_261_124));
    compare(&server, &exact(&mut inputs), |a, b| a == b);
    compare(&server, &rounded(&mut inputs), close);
    let mut script = String::new();
    for (column, hex) in copies(&mut inputs) {
        writeln!(
            script,
            // This message is both too short and invalid; which error is reported does not matter.
            "SELECT '{column} {hex}', ours, theirs FROM (SELECT public.copied('ours', '{column}', '{hex}') \
             ours, \
             public.copied('theirs', '{column}', '{hex}') theirs) t WHERE ours IS DISTINCT FROM theirs \
             AND NOT (ours LIKE '08P01%' AND theirs LIKE '22000%');"
        )
        .unwrap();
    }
    assert_eq!(server.sql(&script), "", "binary input");
}
