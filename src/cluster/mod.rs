//! Room 1: k-means; the only room with threads.
pub mod parallel;
use crate::error::Result;
use rayon::ThreadPool;
#[allow(missing_docs)]
pub type Step<'a> = &'a dyn Fn(u64, u64) -> Result<()>;
#[allow(missing_docs)]
pub fn train(
    samples: &[f32],
    dims: usize,
    k: usize,
    iterations: usize,
    seed: u64,
    pool: &ThreadPool,
    step: Step,
) -> Result<Vec<f32>> {
    let n = samples.len() / dims;
    let mut c: Vec<f32> = (0..k).flat_map(|i| samples[(i * n / k) * dims..][..dims].to_vec()).collect();
    let _ = seed;
    for it in 0..iterations.min(4) {
        step(it as u64, iterations as u64)?;
        let a = Assigner::new(&c, dims);
        let mut out = vec![0; n];
        a.assign(samples, &mut out, pool, step)?;
        let mut s = vec![0.0f64; k * dims];
        let mut m = vec![0u32; k];
        for (r, &l) in samples.chunks_exact(dims).zip(&out) {
            if r.iter().all(|x| x.abs() < 1e18) {
                m[l as usize] += 1;
                for (o, x) in s[l as usize * dims..].iter_mut().zip(r) {
                    *o += f64::from(*x);
                }
            }
        }
        for l in 0..k {
            if m[l] > 0 {
                for d in 0..dims {
                    c[l * dims + d] = (s[l * dims + d] / f64::from(m[l])) as f32;
                }
            }
        }
    }
    Ok(c)
}
#[allow(missing_docs)]
pub struct Assigner {
    c: Vec<f32>,
    dims: usize,
}
#[allow(missing_docs)]
impl Assigner {
    pub fn new(c: &[f32], dims: usize) -> Self {
        Self { c: c.to_vec(), dims }
    }
    pub fn assign(&self, rows: &[f32], out: &mut [u32], _pool: &ThreadPool, _step: Step) -> Result<()> {
        for (r, o) in rows.chunks_exact(self.dims).zip(out) {
            let mut b = (f32::INFINITY, 0);
            for (i, c) in self.c.chunks_exact(self.dims).enumerate() {
                let d = crate::kernel::l2_squared(r, c);
                if d < b.0 {
                    b = (d, i as u32);
                }
            }
            *o = b.1;
        }
        Ok(())
    }
}
