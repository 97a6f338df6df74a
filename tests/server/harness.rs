//! Servers of our own, started by `scripts/server.sh`, and `psql` to talk to them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::random::Random;

/// A running server. It is stopped on drop, and its cluster is removed unless the test failed.
pub struct Server {
    dir: PathBuf,
    pg_config: String,
    env: Vec<(String, String)>,
    psql: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pg_config() -> String {
    std::env::var("VECTOR_SEARCH_PG_CONFIG").expect("scripts/test.sh sets VECTOR_SEARCH_PG_CONFIG")
}

fn script(args: &[&str]) -> Output {
    let output = Command::new(root().join("scripts/server.sh")).args(args).output().unwrap();
    assert!(output.status.success(), "server.sh {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The major version under test.
pub fn major() -> u32 {
    let output = Command::new(pg_config()).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let digits: String =
        text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

impl Server {
    fn directory(name: &str) -> PathBuf {
        root().join(format!("target/test/{name}-{}", major()))
    }

    /// A fresh cluster with the extension in its database.
    pub fn new(name: &str, conf: &[&str]) -> Self {
        Self::of(&pg_config(), name, conf)
    }

    /// The same of another PostgreSQL.
    pub fn of(pg_config: &str, name: &str, conf: &[&str]) -> Self {
        let dir = Self::directory(name);
        script(&["remove", dir.to_str().unwrap()]);
        let server = Self::begin(dir, pg_config, conf);
        server.sql("CREATE EXTENSION vector_search");
        server
    }

    /// A standby of this server, streaming from it. However slow it is, it finds the log that it needs.
    pub fn standby(&self, name: &str, conf: &[&str]) -> Self {
        self.sql("ALTER SYSTEM SET wal_keep_size = '4GB'");
        self.sql("SELECT pg_reload_conf()");
        self.copy(name, |_| (), conf)
    }

    /// A server that begins with a backup of this one. `prepare` gets the data directory, which has a
    /// `standby.signal`, before it starts.
    pub fn copy(&self, name: &str, prepare: impl FnOnce(&Path), conf: &[&str]) -> Self {
        let dir = Self::directory(name);
        script(&["remove", dir.to_str().unwrap()]);
        let output = script(&["backup", self.dir.to_str().unwrap(), dir.to_str().unwrap()]);
        prepare(Path::new(String::from_utf8(output.stdout).unwrap().trim()));
        Self::begin(dir, &pg_config(), conf)
    }

    fn begin(dir: PathBuf, pg_config: &str, conf: &[&str]) -> Self {
        let mut args = vec!["start", dir.to_str().unwrap(), pg_config, "5432"];
        args.extend(conf);
        script(&args);
        let output = script(&["env", dir.to_str().unwrap()]);
        let mut env = Vec::new();
        let mut psql = String::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (name, value) = line.trim_start_matches("export ").split_once('=').unwrap();
            match name {
                "PSQL" => psql = value.to_owned(),
                _ => env.push((name.to_owned(), value.to_owned())),
            }
        }
        Self { dir, pg_config: pg_config.to_owned(), env, psql }
    }

    /// Starts the server again after a crash.
    pub fn restart(&self, conf: &[&str]) {
        self.restart_in(conf, &[]);
    }

    /// The same with more environment.
    pub fn restart_in(&self, conf: &[&str], environment: &[(&str, String)]) {
        let mut args = vec!["start", self.dir.to_str().unwrap(), &self.pg_config, "5432"];
        args.extend(conf);
        // The children of a killed postmaster need a moment to notice it and exit.
        for attempt in 0.. {
            let mut command = Command::new(root().join("scripts/server.sh"));
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            let output = command.args(&args).output().unwrap();
            if output.status.success() {
                return;
            }
            assert!(attempt < 50, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops the server: `fast`, or `immediate`, as if the power failed.
    pub fn stop(&self, mode: &str) {
        script(&["stop", self.dir.to_str().unwrap(), mode]);
    }

    /// Runs one of PostgreSQL's programs as the server's user; what it prints.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(root().join("scripts/server.sh"));
        let output = command.args(["run", self.dir.to_str().unwrap(), program]).args(args).output().unwrap();
        let out =
            [output.stdout, output.stderr].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
        if output.status.success() { Ok(out) } else { Err(out) }
    }

    /// The directory of the server's programs.
    pub fn bin(&self) -> &Path {
        Path::new(&self.psql).parent().unwrap()
    }

    /// The data directory, while the server runs.
    pub fn data(&self) -> PathBuf {
        PathBuf::from(self.sql("SHOW data_directory"))
    }

    /// How another server connects to this one.
    pub fn conninfo(&self) -> String {
        let value =
            |name: &str| self.env.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.trim_matches('\''));
        format!("host={} port={} user=postgres dbname=postgres", value("PGHOST"), value("PGPORT"))
    }

    /// The process number of the postmaster.
    pub fn postmaster(&self) -> String {
        self.sql("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
    }

    /// Kills the whole server with SIGKILL: the postmaster and, since backends outlive it until they next
    /// wait, its children.
    pub fn kill(&self, postmaster: &str) {
        let postmaster = postmaster.trim();
        let parent = format!("PPid:\t{postmaster}\n");
        let mut pids = vec![postmaster.to_owned()];
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.contains(&parent) {
                pids.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        // A child may have ended by itself meanwhile.
        let _ = Command::new("kill").arg("-9").args(&pids).stderr(Stdio::null()).status().unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.psql);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
        command
    }

    /// Runs a script; its rows, or psql's messages if it fails. The server must not warn that a page, a file
    /// or a relation was left open.
    pub fn try_sql(&self, script: &str) -> Result<String, String> {
        let output = self.start_sql(script).wait_with_output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!messages.contains("was not closed") && !messages.contains(" leak: "), "{messages}");
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
        } else {
            Err(messages)
        }
    }

    /// Starts a script and does not wait.
    pub fn start_sql(&self, script: &str) -> Child {
        let mut child = self
            .command()
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let script = script.to_owned();
        // A separate thread writes the script, because a script longer than the pipe would block until its
        // output is read.
        std::thread::spawn(move || drop(input.write_all(script.as_bytes())));
        child
    }

    /// Starts a `psql` that reads statements one at a time.
    pub fn interactive(&self) -> Child {
        let mut command = Command::new("sh");
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        // Output and errors go to one stream, so that messages are in order.
        command.args(["-c", "exec \"$0\" -X -q -A -t 2>&1", &self.psql]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a script that must succeed.
    pub fn sql(&self, script: &str) -> String {
        match self.try_sql(script) {
            Ok(rows) => rows,
            Err(message) => panic!("{}\n{message}", &script[..script.len().min(400)]),
        }
    }

    /// Dumps a database and restores it into a new one, as `pg_dump old | psql new` does.
    pub fn dump_and_restore(&self, old: &str, new: &str) {
        self.sql(&format!("CREATE DATABASE {new}"));
        let dump = PathBuf::from(&self.psql).with_file_name("pg_dump");
        let mut dump = Command::new(dump);
        dump.envs(self.env.iter().map(|(k, v)| (k, v)));
        let output = dump.arg(old).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.sql(&format!("\\c {new}\n{}", String::from_utf8(output.stdout).unwrap()));
    }

    /// A table `name (id int, category int, embedding vector(dims))` with rows of these numbers.
    pub fn fill(&self, name: &str, dims: usize, rows: impl Iterator<Item = u32>) {
        self.sql(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (id int PRIMARY KEY, category int, embedding vector({dims}))"
        ));
        let mut copy = format!("COPY {name} FROM stdin;\n");
        for id in rows {
            writeln!(copy, "{id}\t{}\t{}", id % 45, literal(&vector(u64::from(id), dims))).unwrap();
        }
        copy.push_str("\\.\n");
        self.sql(&copy);
    }

    /// Verifies an index against its table.
    pub fn check(&self, index: &str) {
        self.sql(&format!("SELECT ivf_check('{index}', true)"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let dir = self.dir.to_str().unwrap();
        let alarms = if std::thread::panicking() { Vec::new() } else { script(&["alarms", dir]).stdout };
        // The clusters of one run are ten gigabytes. That of a test that failed is kept, for its log.
        let args = if std::thread::panicking() || !alarms.is_empty() {
            vec!["stop", dir, "immediate"]
        } else {
            vec!["remove", dir]
        };
        let _ = Command::new(root().join("scripts/server.sh")).args(args).output();
        assert!(alarms.is_empty(), "the log of {dir}:\n{}", String::from_utf8_lossy(&alarms));
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A source of random numbers, and says with which seed it begins. The environment may set the seed.
pub fn random() -> Random {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = match setting("VECTOR_SEARCH_TEST_SEED", 0) {
        0 => now(),
        seed => seed,
    };
    println!("VECTOR_SEARCH_TEST_SEED={seed}");
    Random(seed)
}

/// Row `seed` of a clustered set.
pub fn vector(seed: u64, dims: usize) -> Vec<f32> {
    let mut row = Random(seed.wrapping_mul(0x1234_5678_9ABC_DEF1) ^ 77);
    let mut centre = Random(row.next() % 97);
    (0..dims).map(|_| centre.signed_unit() + 0.6 * row.signed_unit()).collect()
}

/// A vector as SQL writes it.
pub fn literal(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
