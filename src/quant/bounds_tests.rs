//! Tests that no bound excludes a row that it must not exclude, for vectors of many kinds.

use super::hostile;
use super::*;
use crate::kernel;
use crate::random::SplitMix64;
use std::sync::Arc;

/// A centroid as the directory has it: rounded to bytes.
fn rounded(centre: &[f32]) -> Vec<f32> {
    let step = centre.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    centre.iter().map(|x| (x * inverse).round() * step).collect()
}

fn norm(x: &[f32]) -> f32 {
    kernel::inner_product(x, x).sqrt()
}

struct Case {
    rotation: Rotation,
    codec: Codec,
    inner_product: bool,
}

impl Case {
    fn rotate(&self, x: &[f32]) -> Vec<f32> {
        rotate(&self.rotation, x)
    }

    /// Codes `rows` relative to `centre` and compares their bounds with the operator's values. Returns how
    /// many rows have finite bounds for how many queries, and how many may be excluded by their one-bit
    /// codes.
    fn check(&self, rows: &[Vec<f32>], queries: &[Vec<f32>], centre: &[f32], what: &str) -> (usize, usize) {
        let (codec, padded) = (&self.codec, self.rotation.padded());
        let (mut signs, mut extended) = (vec![0; codec.sign_bytes()], vec![0; codec.extended_size()]);
        let width = Width::sound(8f32.min((padded as f32 - 1.0).sqrt()));
        let points: Vec<_> = queries.iter().map(|q| self.rotate(q)).collect();
        let codes: Vec<_> = points.iter().map(|q| QueryCode::new(codec, q)).collect();
        let mut excludable = 0;
        let (mut finite, mut block) = (0, vec![0u8; 4 * codec.first_dims()]);
        let (mut inside, mut centre_inside) = (Projector::default(), Projector::default());
        let mut bytes = vec![0; padded];
        let step = round_to_bytes(centre, &mut bytes);
        for row in rows {
            let residual: Vec<f32> = self.rotate(row).iter().zip(centre).map(|(x, c)| x - c).collect();
            let residual_dot_centre = kernel::inner_product(&residual, centre);
            let form = if self.inner_product { Form::InnerProduct { residual_dot_centre } } else { Form::L2 };
            let leading = codec.projection().map(|projection| {
                let is_close = inside.set(projection, &residual);
                centre_inside.set(projection, centre);
                Leading { row: &inside.point, centre: &centre_inside.point, is_close }
            });
            let factors = codec.encode((&residual, centre), leading, form, &mut signs, &mut extended);
            excludable += usize::from(factors.add.is_finite());
            pack::write_signs(&mut block, 0, 3, &signs);
            for ((query, point), code) in queries.iter().zip(&points).zip(&codes) {
                let truth = if self.inner_product {
                    -kernel::inner_product(query, row)
                } else {
                    kernel::l2_squared(query, row)
                };
                let (q, c) = (kernel::inner_product(point, point), kernel::inner_product(centre, centre));
                let dot = kernel::inner_product(point, centre);
                let squared = (q + c - 2.0 * dot).max(0.0);
                let base = if self.inner_product { -dot } else { squared };
                let gap = (squared + 2e-6 * (q + c)).sqrt();
                let lengths = norm(point) + norm(centre);
                let squared = kernel::inner_product(&centre_inside.point, &centre_inside.point);
                let outside = code.outside(codec, (&bytes, step), squared, gap);
                let terms = ListTerms { base, gap, outside, lengths, noise: 1e-36 };
                let mut sums = [0; 32];
                kernel::scan_block(code.lut(), &block, 0, &mut sums);
                let stage = code.stage1(codec, terms, width);
                let product = stage.scale * sums[3] as f32 + stage.shift;
                let bound = factors.add.to_f32() + stage.base + factors.rescale.to_f32() * product;
                let what = format!("{what}: {truth}");
                assert!(bound.is_nan() || bound <= truth, "{what}, first bound {bound}");
                if codec.bits() > 1 {
                    let (estimate, error) = code.extended(codec, &extended, sums[3], terms, width);
                    let (lower, upper) = (estimate - error, estimate + error);
                    if lower.is_finite() && upper.is_finite() {
                        finite += 1;
                        assert!(lower <= truth && truth <= upper, "{what}, bounds {lower} to {upper}");
                    }
                } else {
                    finite += usize::from(bound.is_finite());
                }
            }
        }
        (finite, excludable)
    }
}

/// A leading space of 64 dimensions, the first of which are those of some rows. Rows may lie nearly outside.
fn projection(rotation: &Rotation, rows: &[Vec<f32>]) -> Option<Projection> {
    const DIMS: usize = 64;
    let padded = rotation.padded();
    let mixed = Rotation::new(padded, 77);
    let mut basis: Vec<Vec<f32>> = Vec::new();
    let axes = (0..padded).map(|i| (0..padded).map(|j| f32::from(u8::from(i == j))).collect::<Vec<f32>>());
    let candidates =
        rows.iter().map(|row| rotate(rotation, row)).chain(axes.map(|axis| rotate(&mixed, &axis)));
    for mut candidate in candidates {
        for _ in 0..2 {
            for direction in &basis {
                let along = kernel::inner_product(direction, &candidate);
                candidate.iter_mut().zip(direction).for_each(|(x, d)| *x -= along * d);
            }
            let length = norm(&candidate);
            candidate.iter_mut().for_each(|x| *x /= length);
        }
        if candidate.iter().all(|x| x.is_finite()) {
            basis.push(candidate);
        }
        if basis.len() == DIMS {
            break;
        }
    }
    if padded <= DIMS || basis.len() < DIMS {
        return None;
    }
    // Coordinates inside the space are mixed, as those of all dimensions are.
    let mixed = Rotation::new(DIMS, 78);
    for i in 0..padded {
        let column: Vec<f32> = basis.iter().map(|direction| direction[i]).collect();
        let column = rotate(&mixed, &column);
        basis.iter_mut().zip(column).for_each(|(direction, x)| direction[i] = x);
    }
    let mut projection = Projection::new(&basis.concat(), padded).unwrap()?;
    projection.most_outside = 0.9;
    Some(projection)
}

fn rotate(rotation: &Rotation, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; rotation.padded()];
    rotation.apply(x, &mut out);
    out
}

fn hostile_sets(dims: usize, rows: usize, seed: u64) {
    let mut random = SplitMix64(seed);
    let mut unit = || (random.bits() >> 40) as f32 / (1u32 << 24) as f32;
    for hostile::Set { name, rows } in hostile::sets(dims, rows, &mut unit) {
        let queries = hostile::queries(&rows, &mut unit);
        // All rows and queries of a set lie near a few of its directions, or near none.
        let space = projection(&Rotation::new(dims, seed), &rows).map(Arc::new);
        for bits in [1, 4, 8] {
            for (inner_product, leading) in [(false, false), (true, false), (false, true), (true, true)] {
                let rotation = Rotation::new(dims, seed);
                let mut codec = Codec::new(rotation.padded(), bits).unwrap();
                if leading {
                    let Some(space) = &space else { continue };
                    codec = codec.leading(Arc::clone(space));
                }
                let case = Case { rotation, codec, inner_product };
                let what = format!(
                    "{name}, {dims} dimensions, {bits} bits, {inner_product}, {leading}, seed {seed}"
                );
                // A row of the first cluster stands for a centroid.
                let centre = rounded(&case.rotate(&rows[0]));
                let (finite, excludable) = case.check(&rows, &queries, &centre, &what);
                // With ordinary numbers, few rows have factors that exclude nothing.
                let ordinary = rows.len() >= 12 && (name == "noise 0.1" || name == "integers");
                assert!(!ordinary || excludable * 2 > rows.len(), "{what}: {excludable} may be excluded");
                assert!(!ordinary || finite * 10 > rows.len() * queries.len() * 9, "{what}: {finite}");
            }
        }
    }
}

#[test]
fn no_bound_excludes_what_it_may_not() {
    for (dims, rows) in [(1, 30), (2, 30), (3, 30), (17, 30), (64, 30), (100, 30), (300, 20), (768, 12)] {
        hostile_sets(dims, rows, dims as u64);
    }
    hostile_sets(16_000, 3, 1);
}

/// Runs other seeds for `VECTOR_SEARCH_FUZZ_SECONDS`; a failure names its seed.
#[test]
fn no_bound_excludes_what_it_may_not_by_any_seed() {
    let seconds = std::env::var("VECTOR_SEARCH_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let limit = std::time::Duration::from_secs(seconds.unwrap_or(1));
    let start = std::time::Instant::now();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut random = SplitMix64(clock.as_nanos() as u64);
    while start.elapsed() < limit {
        let dims = [1, 2, 5, 33, 64, 65, 128, 200, 500][random.below(9)];
        hostile_sets(dims, 8, random.bits());
    }
}
