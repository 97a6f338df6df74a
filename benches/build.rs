//! Builds indexes in memory, without a server, and measures the seconds of each phase, the sizes of the
//! lists, and recall and codes read at some targets.
//!
//! `cargo bench --no-default-features --bench build`; environment: `DATA` (rows of signed bytes as a NumPy
//! file; without it, a mixture of Gaussians), `SCALE` (a NumPy file with one float for each row; without it,
//! rows are scaled to length one), `METRIC` (l2, l1, hamming or jaccard; of bits that are the signs of the
//! coordinates), `ROWS` (numbers with commas), `DIMS` (leading coordinates that are used), `MEMORY`
//! (megabytes for the build), `TARGETS`, `QUERIES`, `ROUNDS` (times that a query is asked; the least counts),
//! `PER_LIST` (rows of a list, 0: as the build chooses) and `CODE_DIMS` (dimensions of one-bit codes, 0: all;
//! both numbers with commas). More rows than the file has are mixtures of two rows of the file that lie near
//! each other, with some noise. Each query asks all indexes over the same rows in turn, so their times can be
//! compared.

#![allow(clippy::expect_used)]

use std::cell::RefCell;
use std::env;
use std::rc::Rc;
use std::time::Instant;

use vector_search::error::Result;
use vector_search::ivf::build::{self, Options, RowSink, Source, Spool};
use vector_search::ivf::directory::Directory;
use vector_search::ivf::progress::{Phase, Progress};
use vector_search::ivf::scan::Scan;
use vector_search::ivf::search::filter::Filter;
use vector_search::ivf::search::{Order, Probes, Rows, Settings};
use vector_search::kernel::l2_squared;
use vector_search::page::memory::MemoryStore;
use vector_search::page::meta::SketchOf;
use vector_search::page::{Columns, Store, Tid};
use vector_search::random::SplitMix64;
use vector_search::value::Metric;

/// Rows that have an address on the same imaginary page of the table.
const PER_PAGE: u64 = 100;
/// Near rows of which one is mixed with a row of the file.
const NEAR: usize = 4;

fn main() {
    let data = Data::load();
    let targets: Vec<f64> = numbers("TARGETS", ".8,.95,.99");
    println!(
        "{:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>6} {:>5} {:>7} {:>6}",
        "rows", "sample", "train", "assign", "write", "calibr", "rows/s", "lists", "max", "radius", "pages"
    );
    for rows in numbers("ROWS", "100000,300000,1000000") {
        let rows = rows as u64;
        let built: Vec<Built> = numbers("CODE_DIMS", "0")
            .into_iter()
            .flat_map(|code_dims| {
                numbers("PER_LIST", "0").into_iter().map(move |each| (each as u64, code_dims as u32))
            })
            .map(|choice| Built::new(&data, rows, choice))
            .collect();
        let queries = Queries::new(&data, rows);
        for target in &targets {
            queries.ask(&data, &built, *target);
        }
    }
}

fn numbers(name: &str, default: &str) -> Vec<f64> {
    let text = env::var(name).unwrap_or_else(|_| default.to_string());
    text.split(',').map(|x| x.parse().unwrap_or_else(|_| panic!("{name}: {x} is no number"))).collect()
}

/// The metric of the indexes.
fn metric() -> Metric {
    match env::var("METRIC").as_deref().unwrap_or("l2") {
        "l2" => Metric::L2,
        "l1" => Metric::L1,
        "hamming" => Metric::Hamming,
        "jaccard" => Metric::Jaccard,
        other => panic!("METRIC: {other} is none of l2, l1, hamming, jaccard"),
    }
}

/// Rows by number.
struct Data {
    dims: usize,
    metric: Metric,
    base: Vec<f32>,
    near: Vec<u32>,
    spread: f32,
}

impl Data {
    fn load() -> Self {
        let dims = numbers("DIMS", "256")[0] as usize;
        let base = match env::var("DATA") {
            Ok(path) => scaled(signed_bytes(&path, dims), dims),
            Err(_) => gaussians(dims),
        };
        let n = base.len() / dims;
        let mut random = SplitMix64(7);
        let mut near = vec![0; n * NEAR];
        for (i, near) in near.chunks_exact_mut(NEAR).enumerate() {
            for near in near {
                let others = (0..64).map(|_| random.below(n));
                let distance = |j: &usize| l2_squared(&base[i * dims..][..dims], &base[j * dims..][..dims]);
                *near = others.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0) as u32;
            }
        }
        let variance = base.iter().map(|x| f64::from(x * x)).sum::<f64>() / base.len() as f64;
        Self { dims, metric: metric(), base, near, spread: 0.05 * variance.sqrt() as f32 }
    }

    /// The operator's value.
    fn distance(&self, a: &[f32], b: &[f32]) -> f64 {
        self.metric.distance(a, b).expect("rows have the same dimensions")
    }

    /// Row `i`; rows from `1 << 40` on are none of the table's.
    fn row(&self, i: u64, out: &mut [f32]) {
        self.floats(i, out);
        if self.metric.is_of_bits() {
            out.iter_mut().for_each(|x| *x = f32::from(u8::from(*x > 0.0)));
        }
    }

    fn floats(&self, i: u64, out: &mut [f32]) {
        let n = self.near.len() / NEAR;
        let mut random = SplitMix64(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.below(2);
        let at = |i: usize| &self.base[i * self.dims..][..self.dims];
        if i < n as u64 {
            return out.copy_from_slice(at(i as usize));
        }
        let anchor = random.below(n);
        let near = self.near[anchor * NEAR + random.below(NEAR)] as usize;
        let share = 0.2 + 0.6 * random.unit() as f32;
        for ((out, a), b) in out.iter_mut().zip(at(anchor)).zip(at(near)) {
            // Uniform noise of about the variance of `spread`: a normal number takes too long.
            *out = share * a + (1.0 - share) * b + 1.7 * self.spread * random.signed_unit();
        }
    }
}

/// The leading coordinates of the rows of a NumPy file of signed bytes.
fn signed_bytes(path: &str, dims: usize) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("DATA can be read");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]).into_owned();
    assert!(header.contains("'|i1'") || header.contains("'i1'"), "DATA holds signed bytes: {header}");
    let width = header.split("'shape': (").nth(1).and_then(|shape| shape.split([',', ')']).nth(1));
    let width: usize = width.and_then(|width| width.trim().parse().ok()).expect("DATA has rows");
    bytes[start..]
        .chunks_exact(width)
        .flat_map(|row| row[..dims].iter().map(|x| f32::from(x.cast_signed())))
        .collect()
}

/// The rows with the scales of the file `SCALE`, or of length one.
fn scaled(mut rows: Vec<f32>, dims: usize) -> Vec<f32> {
    let scales: Option<Vec<f32>> = env::var("SCALE").ok().map(|path| {
        let bytes = std::fs::read(path).expect("SCALE can be read");
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[start..].as_chunks().0.iter().map(|scale| f32::from_le_bytes(*scale)).collect()
    });
    for (i, row) in rows.chunks_exact_mut(dims).enumerate() {
        let length = || row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
        let scale = scales.as_ref().map_or_else(|| 1.0 / length(), |scales| scales[i]);
        row.iter_mut().for_each(|x| *x *= scale);
    }
    rows
}

fn gaussians(dims: usize) -> Vec<f32> {
    let mut random = SplitMix64(3);
    let centres: Vec<f32> = (0..1000 * dims).map(|_| random.normal()).collect();
    (0..100_000 * dims).map(|i| centres[i / dims % 1000 * dims + i % dims] + 0.7 * random.normal()).collect()
}

struct Table<'a>(&'a Data, u64);

impl Source for Table<'_> {
    fn rows_hint(&self) -> u64 {
        self.1
    }

    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let mut row = vec![0.0; self.0.dims];
        let mut random = SplitMix64(11);
        let step = (self.1 / want.max(1) as u64).max(1);
        let mut numbers: Vec<u64> =
            (0..want as u64).map(|i| (i * step + random.below(step as usize) as u64) % self.1).collect();
        for i in (1..numbers.len()).rev() {
            numbers.swap(i, random.below(i + 1));
        }
        numbers.into_iter().try_for_each(|i| {
            self.0.row(i, &mut row);
            sink(&row)
        })
    }

    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()> {
        let mut row = vec![0.0; self.0.dims];
        (0..self.1).try_for_each(|i| {
            self.0.row(i, &mut row);
            sink(Tid { blkno: (i / PER_PAGE) as u32, offset: (i % PER_PAGE + 1) as u16 }, &row, &[])
        })
    }
}

#[derive(Default)]
struct MemorySpool(Vec<u8>);

impl Spool for MemorySpool {
    fn write(&mut self, bytes: &[u8]) -> Result<u64> {
        self.0.extend_from_slice(bytes);
        Ok((self.0.len() - bytes.len()) as u64)
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.0[offset as usize..][..out.len()]);
        Ok(())
    }
}

/// When each phase began.
struct Clock(RefCell<Vec<(Phase, Instant)>>);

impl Progress for Clock {
    fn phase(&self, phase: Phase) {
        self.0.borrow_mut().push((phase, Instant::now()));
    }

    fn tick(&self) -> Result<()> {
        Ok(())
    }
}

/// An index.
struct Built {
    store: MemoryStore,
    directory: Rc<Directory>,
}

impl Built {
    /// Builds it, and prints what that took.
    fn new(data: &Data, rows: u64, (per_list, code_dims): (u64, u32)) -> Self {
        let store = MemoryStore::new();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        let memory = (numbers("MEMORY", "1024")[0] as usize) << 20;
        let options = Options {
            dims: data.dims,
            metric: data.metric,
            lists: rows.checked_div(per_list).map_or(0, |lists| lists as u32),
            bits: 4,
            code_dims,
            seed: 42,
            memory,
            columns: Columns::default(),
            sketch: SketchOf::default(),
        };
        let clock = Clock(RefCell::default());
        let mut spool = MemorySpool::default();
        build::build(&store, &options, &mut Table(data, rows), &mut spool, &pool, &clock).expect("the build");
        drop(spool);
        let end = Instant::now();
        let began = clock.0.into_inner();
        let seconds = |phase: Phase| {
            let at = began.iter().position(|(other, _)| *other == phase).expect("each phase begins");
            (began.get(at + 1).map_or(end, |next| next.1) - began[at].1).as_secs_f64()
        };
        let directory = Rc::new(Directory::load(&store).expect("the directory"));
        let sizes: Vec<u64> =
            (0..directory.lists()).map(|list| u64::from(directory.built_rows(list))).collect();
        let largest = *sizes.iter().max().unwrap_or(&0) as f64 * sizes.len() as f64 / rows as f64;
        println!(
            "{rows:>9} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>9.0} {:>6} {largest:>5.1} {:>7.4} {:>6}",
            seconds(Phase::Sampling),
            seconds(Phase::Training),
            seconds(Phase::Assigning),
            seconds(Phase::Writing),
            seconds(Phase::Calibrating),
            rows as f64 / (end - began[0].1).as_secs_f64(),
            sizes.len(),
            directory.mean_radius() / directory.meta.scale,
            store.nblocks().expect("the store has pages"),
        );
        Self { store, directory }
    }
}

/// Queries that are no rows of the table, and the distances of their tenth nearest rows: the next rows of the
/// file if it has so many.
struct Queries {
    points: Vec<f32>,
    farthest: Vec<f64>,
}

impl Queries {
    fn new(data: &Data, rows: u64) -> Self {
        let count = numbers("QUERIES", "100")[0] as usize;
        let left = (data.near.len() / NEAR) as u64;
        let first = if rows + count as u64 <= left { rows } else { 1 << 40 };
        let mut points = vec![0.0; count * data.dims];
        for (i, point) in points.chunks_exact_mut(data.dims).enumerate() {
            data.row(first + i as u64, point);
        }
        let mut nearest = vec![Vec::new(); count];
        let mut row = vec![0.0; data.dims];
        for i in 0..rows {
            data.row(i, &mut row);
            for (nearest, point) in nearest.iter_mut().zip(points.chunks_exact(data.dims)) {
                let distance = data.distance(&row, point);
                if nearest.len() < 10 || distance < nearest[9] {
                    nearest.insert(nearest.partition_point(|x| *x <= distance), distance);
                    nearest.truncate(10);
                }
            }
        }
        Self { points, farthest: nearest.iter().map(|nearest| nearest[nearest.len() - 1]).collect() }
    }

    /// Asks each query of each index in turn, and prints for each index: recall, codes and lists of a query,
    /// and its microseconds (median and mean).
    fn ask(&self, data: &Data, built: &[Built], target: f64) {
        let settings = Settings {
            probes: Probes::ForRecall { least: 0 },
            recall_target: target as f32,
            order: Order::Strict,
            limit: Some(10),
            ceiling: f64::INFINITY,
            passing: 1.0,
            memory: 4 << 20,
            in_order: true,
            paged: true,
        };
        let mut scans: Vec<_> =
            built.iter().map(|built| Scan::new((Rc::clone(&built.directory), None), settings)).collect();
        let rounds = numbers("ROUNDS", "1")[0] as usize;
        let asked = self.farthest.len();
        let (mut found, mut times) = (vec![0; built.len()], vec![vec![f64::INFINITY; asked]; built.len()]);
        let queries = self.points.chunks_exact(data.dims).zip(&self.farthest).enumerate();
        for (number, (point, farthest)) in std::iter::repeat_n(queries, rounds).flatten() {
            for turn in 0..built.len() {
                let at = (number + turn) % built.len();
                let began = Instant::now();
                scans[at].start_filtered(settings, Some(point), Filter::default());
                let mut heap = Heap { data, point, row: vec![0.0; data.dims] };
                for _ in 0..10 {
                    let row = scans[at].next(&built[at].store, &mut heap).expect("a row");
                    let Some((_, distance)) = row else { break };
                    found[at] += usize::from(distance <= farthest * (1.0 + 1e-6));
                }
                times[at][number] = times[at][number].min(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        let asked = (asked * rounds) as f64;
        for (((built, scan), found), mut times) in built.iter().zip(&scans).zip(found).zip(times) {
            times.sort_by(f64::total_cmp);
            let (stats, mean) = (scan.stats(), times.iter().sum::<f64>() / times.len() as f64);
            println!(
                "    {target}: {:>6} lists, {:>4} dims: recall {:.4}, codes {:.0}, records {:.0}, \
                 rows {:.0}, lists {:.0}, median {:.0} µs, mean {mean:.0}",
                built.directory.lists(),
                built.directory.codec.first_dims(),
                found as f64 / asked / 10.0,
                stats.codes as f64 / asked,
                stats.extended as f64 / asked,
                stats.rows as f64 / asked,
                stats.lists as f64 / asked,
                times[times.len() / 2],
            );
        }
    }
}

struct Heap<'a> {
    data: &'a Data,
    point: &'a [f32],
    row: Vec<f32>,
}

impl Rows for Heap<'_> {
    fn distance(&mut self, tid: Tid, _: Option<f64>) -> Result<Option<f64>> {
        self.data.row(u64::from(tid.blkno) * PER_PAGE + u64::from(tid.offset) - 1, &mut self.row);
        Ok(Some(self.data.distance(&self.row, self.point)))
    }
}
