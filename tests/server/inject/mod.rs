//! Each call of the server that the library makes raises an error in its turn, and each of its allocations
//! returns nothing. The statement ends with that error, and nothing else is lost: the session goes on, no
//! page stays pinned, no lock is held, indexes are sound, and queries give the rows that they gave before.
//!
//! An ordinary run lets some calls of each statement fail. `VECTOR_SEARCH_TEST_CALLS=ways` lets the first and
//! the last call fail that is made in each way, that is, by the same functions of the library;
//! `VECTOR_SEARCH_TEST_CALLS=all` every call.

mod control;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::Server;
use crate::session::{Answer, Session};
use control::{Control, What, Which};
use work::{INDEXES, SET_UP, WORK, Work};

/// The SQLSTATE of the errors that are raised (`stubs.c`).
const INJECTED: &str = "38000";
const OUT_OF_MEMORY: &str = "53200";

/// A server, a session whose calls fail, and another one that looks at what is left.
struct Bench {
    server: Server,
    control: Control,
    session: Session,
    watcher: Session,
    nearest: Answer,
    faults: Vec<String>,
    /// Calls that failed, and those after which the statement went on.
    failed: u64,
    survived: BTreeMap<String, u64>,
}

const NEAREST: &str = "SELECT array_agg(id), inject_held() FROM (SELECT id FROM items WHERE id < 700 \
     ORDER BY embedding <-> vec(5, 11) LIMIT 8) s";

impl Bench {
    /// `None` where calls cannot be made to fail; it says why.
    fn new(name: &str) -> Option<Self> {
        let conf = ["autovacuum = off", "fsync = off", "shared_buffers = '32MB'", "jit = off"];
        let server = Server::new(name, &conf);
        let control = match Control::new(&server) {
            Ok(control) => control,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        server.sql(&SET_UP.replace("$library", &control.library()));
        let session = Self::open(&server, &control);
        let watcher = Session::new(&server);
        let nearest = Answer { text: String::new(), state: None };
        let (faults, survived) = (Vec::new(), BTreeMap::new());
        let mut bench = Self { server, control, session, watcher, nearest, faults, failed: 0, survived };
        bench.nearest = bench.session.answer(NEAREST).unwrap();
        assert!(bench.nearest.state.is_none(), "{:?}", bench.nearest);
        Some(bench)
    }

    /// A session whose library is patched. The first statement after this finds nothing in its caches.
    fn open(server: &Server, control: &Control) -> Session {
        let mut session = Session::new(server);
        let answer = session.run(&format!("LOAD '{}'", control.library()));
        assert!(answer.is_empty(), "{answer}");
        session
    }

    /// Prepares what a statement needs.
    fn prepare(&mut self, work: &Work) {
        self.plainly(work.before);
        if work.first {
            self.session = Self::open(&self.server, &self.control);
        }
    }

    /// Runs statements without failures.
    fn plainly(&mut self, sql: &str) {
        if !sql.is_empty() {
            let answer = self.session.answer(sql).unwrap_or_else(|out| panic!("{sql}: {out}"));
            assert!(answer.state.is_none() && !answer.text.contains("ERROR"), "{sql}: {answer:?}");
        }
    }

    /// The answer to a query by a sequential scan.
    fn truth(&mut self, statement: &str) -> Answer {
        let sql = format!("SET enable_indexscan = off; SET enable_indexonlyscan = off; {statement}");
        let answer = self.session.answer(&sql).unwrap();
        self.plainly("SET enable_indexscan = on; SET enable_indexonlyscan = on");
        answer
    }

    /// Lets some calls of a statement fail, and looks at what is left. `rows` is what a query returns.
    fn fail(&mut self, work: &Work, rows: Option<&Answer>, what: What, which: Which) {
        self.prepare(work);
        self.control.arm(what, which, false);
        let answer = self.session.answer(work.statement);
        self.control.disarm();
        let name = self.control.name();
        if self.control.failed() == 0 {
            self.plainly(work.after);
            return;
        }
        self.failed += self.control.failed();
        let fault = match answer {
            Ok(answer) => {
                let expected = match &answer.state {
                    Some(state) => {
                        answer.text.contains("injected: ") && state == INJECTED || state == OUT_OF_MEMORY
                    }
                    None => {
                        *self.survived.entry(format!("{what:?} {name}")).or_default() += 1;
                        rows.is_none_or(|rows| *rows == answer)
                    }
                };
                let leaks = answer.text.contains(" leak: ") || answer.text.contains("was not closed");
                match expected && !leaks {
                    true => self.look(work, rows).err(),
                    false => Some(format!("{answer:?}")),
                }
            }
            Err(out) => {
                self.begin_again();
                Some(format!("the session has ended: {out}"))
            }
        };
        if let Some(fault) = fault {
            assert!(self.faults.len() < 30, "many faults:\n{}", self.faults.join("\n"));
            self.faults.push(format!("{}\n  {what:?} {which:?} {name}: {fault}", work.statement));
        }
    }

    /// After a crash: waits for the server, and goes on in new sessions.
    fn begin_again(&mut self) {
        for attempt in 0.. {
            std::thread::sleep(Duration::from_millis(200));
            if self.server.try_sql("SELECT 1").is_ok() {
                break;
            }
            assert!(attempt < 100, "the server is gone");
        }
        self.session = Self::open(&self.server, &self.control);
        self.watcher = Session::new(&self.server);
    }

    /// What an error must not leave behind.
    fn look(&mut self, work: &Work, rows: Option<&Answer>) -> Result<(), String> {
        let backend = self.session.backend.clone();
        let left = format!("SELECT count(*), inject_pinned() FROM pg_locks WHERE pid = {backend}");
        let mut found = String::new();
        // The server's own processes hold pages for a moment.
        for _ in 0..1000 {
            found = self.watcher.run(&left);
            if found == "0|0" {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut problems = String::new();
        if found != "0|0" {
            let _ = write!(problems, "locks and pinned pages {found}; ");
        }
        let mut steps = vec![(NEAREST.to_owned(), Some(self.nearest.clone()))];
        if let Some(rows) = rows {
            steps.push((work.statement.to_owned(), Some(rows.clone())));
        }
        if !work.after.is_empty() {
            steps.push((work.after.to_owned(), None));
        }
        steps.push(("SHOW hnsw.ef_search".into(), Some(Answer { text: "40".into(), state: None })));
        let checks: Vec<String> = INDEXES.iter().map(|index| format!("ivf_check('{index}', true)")).collect();
        steps.push((format!("SELECT {}", checks.join(", ")), None));
        for (sql, expected) in steps {
            match self.session.answer(&sql) {
                Ok(answer) if answer.state.is_none() && expected.as_ref().is_none_or(|e| *e == answer) => {}
                Ok(answer) => {
                    let _ = write!(problems, "then {sql}: {answer:?}, not {expected:?}; ");
                }
                Err(out) => {
                    self.begin_again();
                    return Err(format!("{problems}then {sql}: the session has ended: {out}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Lets calls of a statement fail, one in each run, and what else `how` says.
    fn each(&mut self, work: &Work, what: What, how: How, most: usize) {
        // The first run fills caches.
        let mut rows = None;
        for _ in 0..2 {
            self.prepare(work);
            self.control.arm(what, Which::default(), true);
            let answer = self.session.answer(work.statement).unwrap();
            self.control.disarm();
            assert!(answer.state.is_none(), "{}: {answer:?}", work.statement);
            rows = is_query(work).then_some(answer);
            self.plainly(work.after);
        }
        if let Some(rows) = &rows {
            assert_eq!(*rows, self.truth(work.statement), "{}", work.statement);
        }
        let numbers = sample(&self.control.paths(), most);
        let (all, before, started) = (self.control.count(), self.faults.len(), std::time::Instant::now());
        let live = self.control.live();
        for &first in &numbers {
            match how {
                How::One => self.fail(work, rows.as_ref(), what, Which { first, ..Which::default() }),
                How::AllAfter => {
                    self.fail(work, rows.as_ref(), what, Which { first, lasting: true, ..Which::default() });
                }
                How::Two => {
                    for second in 1..=9 {
                        self.fail(work, rows.as_ref(), what, Which { first, second, lasting: false });
                        if self.control.failed() < 2 {
                            break;
                        }
                    }
                }
            }
        }
        eprintln!(
            "{what:?} {how:?}: {} of {all} calls, {} more blocks, {} faults, {:?}: {}",
            numbers.len(),
            self.control.live() - live,
            self.faults.len() - before,
            started.elapsed(),
            work.statement
        );
    }

    fn end(self) {
        eprintln!("{} calls failed; survived: {:?}", self.failed, self.survived);
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
    }
}

/// What fails besides the call whose turn it is.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Nothing.
    One,
    /// All after it.
    AllAfter,
    /// One of those after it: calls that are made because of the first error.
    Two,
}

/// Whether a statement gives the same rows without an index.
fn is_query(work: &Work) -> bool {
    !work.first
        && work.before.is_empty()
        && work.after.is_empty()
        && work.statement.starts_with("SELECT")
        && !work.statement.contains("ivf_")
}

/// The numbers of the calls that are to fail: all, or the first and the last of each way, or `most` of these.
fn sample(paths: &[u32], most: usize) -> Vec<u64> {
    let chosen = std::env::var("VECTOR_SEARCH_TEST_CALLS").unwrap_or_default();
    if chosen == "all" {
        return (1..=paths.len() as u64).collect();
    }
    let mut ends: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (at, path) in paths.iter().enumerate() {
        ends.entry(*path).or_insert((at, at)).1 = at;
    }
    let numbers: BTreeSet<usize> = ends.values().flat_map(|(first, last)| [*first + 1, *last + 1]).collect();
    let most = if chosen == "ways" { numbers.len() } else { most };
    let step = numbers.len().div_ceil(most.max(1)).max(1);
    numbers.into_iter().step_by(step).map(|number| number as u64).collect()
}

/// Lets calls of all statements fail, in an ordinary run up to `most` of each.
fn fail_each(name: &str, what: What, how: How, most: usize) {
    let Some(mut bench) = Bench::new(name) else { return };
    let only = std::env::var("VECTOR_SEARCH_TEST_STATEMENT").unwrap_or_default();
    for work in WORK.iter().filter(|work| work.statement.contains(&only)) {
        bench.each(work, what, how, most);
    }
    bench.end();
}

#[test]
fn errors_inside_each_call() {
    fail_each("inject-calls", What::Calls, How::One, 12);
}

#[test]
fn errors_while_an_error_is_handled() {
    fail_each("inject-two-calls", What::Calls, How::Two, 3);
}

#[test]
fn allocations_that_fail_one_by_one() {
    fail_each("inject-allocations", What::Allocations, How::One, 12);
}

#[test]
fn memory_that_has_run_out() {
    fail_each("inject-no-memory", What::Allocations, How::AllAfter, 6);
}
