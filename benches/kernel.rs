//! Measures nanoseconds per call of every kernel, for every instruction set that the machine supports; for
//! `scan_block` and `lower_bounds` nanoseconds per code of a block. Also measures making a query's tables.
//! The instruction set is chosen once per process, so the bench starts itself once for each.

use half::f16;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;
use vector_search::kernel;
use vector_search::quant::{Codec, QueryCode, Rotation};
use vector_search::value::maxsim::maxsim;
use vector_search::value::tokens::TokensBuf;

const DIMS: [usize; 3] = [128, 768, 1536];
/// Half of the second-level cache of the machines that we know.
const L2_BYTES: usize = 256 << 10;
/// Set in the child processes, which print one line per kernel.
const CHILD: &str = "VECTOR_SEARCH_BENCH_CHILD";

fn main() -> std::io::Result<()> {
    if std::env::var_os(CHILD).is_some() {
        for (name, times) in measure() {
            println!("{name} {}", times.map(|t| format!("{t:.2}")).join(" "));
        }
        return Ok(());
    }
    let program = std::env::current_exe()?;
    println!("{:8}{:20}{:>10}{:>10}{:>10}  ns", "isa", "kernel", DIMS[0], DIMS[1], DIMS[2]);
    for row in kernel::rows() {
        let output = Command::new(&program).env(CHILD, "1").env("VECTOR_SEARCH_ISA", row).output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let cells: Vec<&str> = line.split(' ').collect();
            println!("{row:8}{:20}{:>10}{:>10}{:>10}", cells[0], cells[1], cells[2], cells[3]);
        }
    }
    Ok(())
}

/// The least time per call over several samples, in nanoseconds, because other work on the machine can only
/// add time.
fn time<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut sample = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(call());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    };
    let once = sample(1000);
    let calls = (1e6 / once).clamp(100.0, 1e6) as u32;
    (0..15).map(|_| sample(calls)).fold(f64::INFINITY, f64::min)
}

fn measure() -> Vec<(&'static str, [f64; 3])> {
    let mut table: Vec<(&'static str, [f64; 3])> = Vec::new();
    for (column, dims) in DIMS.into_iter().enumerate() {
        let mut put = |name, ns: f64| {
            if column == 0 {
                table.push((name, [0.0; 3]));
            }
            if let Some((_, times)) = table.iter_mut().find(|entry| entry.0 == name) {
                times[column] = ns;
            }
        };
        floats(dims, &mut put);
        codes(dims, &mut put);
        integers(dims, &mut put);
    }
    table
}

fn wave(dims: usize, phase: f32) -> Vec<f32> {
    (0..dims).map(|i| (i as f32 * 0.37 + phase).sin()).collect()
}

/// Bytes of codes and of tables.
fn tables(dims: usize) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<u8> = (0..4 * dims).map(|i| (i * 167 + i / 7) as u8).collect();
    let lut: Vec<u8> = (0..4 * dims).map(|i| (i * 91 + i / 5) as u8).collect();
    (bytes, lut)
}

/// Distances of floats and halves.
fn floats(dims: usize, put: &mut impl FnMut(&'static str, f64)) {
    let (a, b) = (wave(dims, 0.0), wave(dims, 1.0));
    put("l2_squared", time(|| kernel::l2_squared(black_box(&a), black_box(&b))));
    put("inner_product", time(|| kernel::inner_product(black_box(&a), black_box(&b))));
    put("cosine_distance", time(|| kernel::cosine_distance(black_box(&a), black_box(&b))));
    put("l1", time(|| kernel::l1(black_box(&a), black_box(&b))));
    put("norm_squared", time(|| kernel::norm_squared(black_box(&a))));
    let a16: Vec<f16> = a.iter().map(|x| f16::from_f32(*x)).collect();
    let b16: Vec<f16> = b.iter().map(|x| f16::from_f32(*x)).collect();
    put("l2_squared_f16", time(|| kernel::l2_squared_f16(black_box(&a16), black_box(&b16))));
    put("inner_product_f16", time(|| kernel::inner_product_f16(black_box(&a16), black_box(&b16))));
    put("cosine_distance_f16", time(|| kernel::cosine_distance_f16(black_box(&a16), black_box(&b16))));
    // 32 vectors of a query and 128 of a row.
    let vectors = |count: usize| {
        let mut tokens = TokensBuf::default();
        (0..count).for_each(|i| assert!(tokens.push(&wave(dims, i as f32)).is_ok()));
        tokens
    };
    let (row, query) = (vectors(128), vectors(32));
    put("maxsim,32x128", time(|| maxsim(black_box(row.view()), black_box(query.view()), || ())));
    put("l1_f16", time(|| kernel::l1_f16(black_box(&a16), black_box(&b16))));
}

/// Scans of codes, bounds, filters.
fn codes(dims: usize, put: &mut impl FnMut(&'static str, f64)) {
    let (bytes, lut) = tables(dims);
    let scan = time(|| {
        let mut sums = [0; kernel::BLOCK_ROWS];
        kernel::scan_block(black_box(&lut), black_box(&bytes), 0, &mut sums);
        sums
    });
    put("scan_block/code", scan / kernel::BLOCK_ROWS as f64);
    // Several lists, one after the other: more than the first-level cache holds and less than the
    // second-level cache.
    let many: Vec<u8> = bytes.iter().copied().cycle().take(L2_BYTES / bytes.len() * bytes.len()).collect();
    let scan = time(|| {
        let mut sums = [0; kernel::BLOCK_ROWS];
        for block in black_box(&many).chunks_exact(bytes.len()) {
            kernel::scan_block(black_box(&lut), block, block.len(), &mut sums);
        }
        sums
    });
    let mut packed = vec![0; bytes.len()];
    put("pack_rows/block", time(|| kernel::pack_rows(black_box(&bytes), black_box(&mut packed))));
    put("scan_block/code,L2", scan * bytes.len() as f64 / (many.len() * kernel::BLOCK_ROWS) as f64);
    let sums = std::array::from_fn(|i| 100 * i as u32);
    let halves = std::array::from_fn(|i| if i % 2 == 0 { 7 } else { 0x3c });
    let bounds = time(|| {
        let mut bounds = [0.0; kernel::BLOCK_ROWS];
        let sums = black_box(&sums);
        kernel::lower_bounds(sums, &halves, &halves, 0.01, 1.0, 2.0, 20.0, &mut bounds)
    });
    put("lower_bounds/code", bounds / kernel::BLOCK_ROWS as f64);
    let (query, rows) = (&lut[..dims / 8], &bytes[..4 * dims]);
    let count = time(|| {
        let mut counts = [0; kernel::BLOCK_ROWS];
        kernel::hamming_rows(black_box(query), black_box(rows), &mut counts);
        counts
    });
    put("hamming_rows/code", count / kernel::BLOCK_ROWS as f64);
    let count = time(|| {
        let mut counts = [0; kernel::BLOCK_ROWS];
        kernel::common_rows(black_box(query), black_box(rows), &mut counts);
        counts
    });
    put("common_rows/code", count / kernel::BLOCK_ROWS as f64);
    let keys = std::array::from_fn(|i| i as u8);
    put("within_u32/code", time(|| kernel::within_u32(black_box(&keys), 7, 99)) / kernel::BLOCK_ROWS as f64);
}

/// Products with codes, and the transforms of a query.
fn integers(dims: usize, put: &mut impl FnMut(&'static str, f64)) {
    let (a, (bytes, lut)) = (wave(dims, 0.0), tables(dims));
    let signed: Vec<i8> = bytes[..dims].iter().map(|x| *x as i8).collect();
    let other: Vec<i8> = lut[..dims].iter().map(|x| *x as i8).collect();
    let extended = &bytes[..dims / 64 * 24];
    put("dot_extended3", time(|| kernel::dot_extended3(black_box(extended), black_box(&signed))));
    put("dot_u8_i8", time(|| kernel::dot_u8_i8(black_box(&bytes[..dims]), black_box(&signed))));
    // Sixteen rows.
    let (rows, mut dots) = (other.repeat(16), [0; 16]);
    put("dots_i8/row", time(|| kernel::dots_i8(black_box(&signed), black_box(&rows), &mut dots)) / 16.0);
    put("dot_f32_i8", time(|| kernel::dot_f32_i8(black_box(&a), black_box(&signed))));
    // The largest power of two within the dimensions, as in the rotation. The vector is zero, so that
    // repeated transforms stay finite.
    let mut x = vec![0.0; 1 << dims.ilog2()];
    put("hadamard/2^k", time(|| kernel::hadamard(black_box(&mut x))));

    let (rotation, mut rotated) = (Rotation::new(dims, 1), vec![0.0; dims]);
    put("rotation", time(|| rotation.apply(black_box(&a), black_box(&mut rotated))));
    if let Ok(codec) = Codec::new(dims, 4) {
        let mut query = QueryCode::new(&codec, &rotated);
        put("query_tables", time(|| query.set(&codec, black_box(&rotated))));
    }
}
