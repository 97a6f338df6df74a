//! A `psql` that runs one statement after the other in one backend.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};

use crate::harness::Server;

/// A session, whose backend a test may limit, steer or watch.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The process number of the backend.
    pub backend: String,
}

/// What a statement printed on both streams, and its SQLSTATE if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub state: Option<String>,
}

const END: &str = "the statement has ended";

impl Session {
    pub fn new(server: &Server) -> Self {
        let mut child = server.interactive();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut session = Self { child, input, output, backend: String::new() };
        session.backend = session.run("SELECT pg_backend_pid()");
        session
    }

    /// Runs a statement. The error is what `psql` printed before the session ended.
    pub fn answer(&mut self, sql: &str) -> Result<Answer, String> {
        let mut out = String::new();
        if self.input.write_all(format!("{sql};\n\\echo :SQLSTATE {END}\n").as_bytes()).is_err() {
            return Err(out);
        }
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return Err(out);
            }
            match line.trim_end().strip_suffix(END) {
                Some(state) => {
                    let state = state.trim();
                    let state = (state != "00000").then(|| state.to_owned());
                    return Ok(Answer { text: out.trim_end().to_owned(), state });
                }
                None => out.push_str(&line),
            }
        }
    }

    /// Runs a statement; what it printed and, on a line of its own, its SQLSTATE if it failed.
    pub fn run(&mut self, sql: &str) -> String {
        let Answer { text, state } =
            self.answer(sql).unwrap_or_else(|out| panic!("{sql}: the session has ended: {out}"));
        match state {
            None => text,
            Some(state) => format!("{text}\nSQLSTATE {state}"),
        }
    }

    /// Sets a limit of the backend, as `prlimit` names it. Only the server's own user may do this.
    pub fn limit(&self, server: &Server, what: &str) {
        server.sql(&format!(
            "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; prlimit --pid {} --{what}:'",
            self.backend
        ));
    }

    /// A number of bytes of the backend's state, such as `VmSize`.
    pub fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.backend)).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.input.write_all(b"\\q\n");
        let _ = self.child.wait();
    }
}
