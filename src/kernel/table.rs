//! The table of kernels, of which each instruction set is a row.

use half::f16;

/// Rows in a block: their codes are compared together, and lie together on a page.
pub const BLOCK_ROWS: usize = 32;
/// Number of vectors that [`super::max_products`] takes together.
pub const TOKENS: usize = 12;

pub(super) type Distance<T> = unsafe fn(&[T], &[T]) -> f32;
pub(super) type Tile = unsafe fn(&[[f32; 4]], &[[f32; 16]]) -> [[f32; 16]; 4];
pub(super) type Products = unsafe fn(&[[f32; 16]], [&[f32]; TOKENS], &mut [f32; 16]);
pub(super) type SignCode = unsafe fn(&[f32], &[f32], &mut [u8]) -> [f32; 2];
pub(super) type GridCode = unsafe fn(&[f32], &[f32], f32, &mut [u8]) -> [f32; 3];
pub(super) type Cosine<T> = unsafe fn(&[T], &[T]) -> f64;

/// One instruction set's kernels. Slices of a pair have equal lengths, which the entry points check.
pub(super) struct Kernels {
    pub(super) name: &'static str,
    /// Whether this machine supports the instruction set.
    pub(super) supported: fn() -> bool,
    pub(super) l2_squared: Distance<f32>,
    pub(super) inner_product: Distance<f32>,
    pub(super) cosine_distance: Cosine<f32>,
    pub(super) l1: Distance<f32>,
    pub(super) norm_squared: unsafe fn(&[f32]) -> f64,
    pub(super) norm_squared_f16: unsafe fn(&[f16]) -> f64,
    pub(super) l2_squared_f16: Distance<f16>,
    pub(super) inner_product_f16: Distance<f16>,
    pub(super) cosine_distance_f16: Cosine<f16>,
    pub(super) l1_f16: Distance<f16>,
    pub(super) widen: unsafe fn(&[f16], &mut [f32]),
    pub(super) narrow: unsafe fn(&[f32], &mut [f16]),
    pub(super) hamming: unsafe fn(&[u8], &[u8]) -> u64,
    pub(super) hamming_rows: unsafe fn(&[u8], &[u8], &mut [u32; BLOCK_ROWS]),
    pub(super) common_bits: unsafe fn(&[u8], &[u8]) -> (u64, u64),
    pub(super) common_rows: unsafe fn(&[u8], &[u8], &mut [u32; BLOCK_ROWS]),
    pub(super) subset_sums: unsafe fn(&[u16], u16, &mut [u8]),
    pub(super) scan_block: unsafe fn(&[u8], &[u8], usize, &mut [u32; BLOCK_ROWS]),
    pub(super) pack_rows: unsafe fn(&[u8], &mut [u8]),
    pub(super) lower_bounds: unsafe fn(&[u32; BLOCK_ROWS], &Factors, &mut [f32; BLOCK_ROWS]) -> u32,
    pub(super) within_u32: unsafe fn(&[u8; 4 * BLOCK_ROWS], u32, u32) -> u32,
    pub(super) within_u64: unsafe fn(&[u8; 8 * BLOCK_ROWS], u64, u64) -> u32,
    pub(super) dot_extended3: unsafe fn(&[u8], &[i8]) -> i32,
    pub(super) dot_extended4: unsafe fn(&[u8], &[u8], &[i8]) -> i32,
    pub(super) dot_u8_i8: unsafe fn(&[u8], &[i8]) -> i32,
    pub(super) dots_i8: unsafe fn(&[i8], &[i8], &mut [i32]),
    pub(super) dot_f32_i8: unsafe fn(&[f32], &[i8]) -> f32,
    pub(super) hadamard: unsafe fn(&mut [f32]),
    pub(super) max_products: Products,
    pub(super) tile: Tile,
    pub(super) sign_code: SignCode,
    pub(super) grid_code4: GridCode,
}

/// The factors that turn the sums of a block into bounds; see [`super::lower_bounds`].
pub(super) struct Factors<'a> {
    pub(super) add: &'a [u8; 2 * BLOCK_ROWS],
    pub(super) rescale: &'a [u8; 2 * BLOCK_ROWS],
    pub(super) scale: f32,
    pub(super) shift: f32,
    pub(super) base: f32,
    pub(super) threshold: f32,
}
