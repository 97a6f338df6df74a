//! The pages of indexes that earlier versions have written, in `tests/ivf/earlier`: 640 rows of 24 dimensions
//! by [`row`], of which every tenth was deleted again. In a file, runs of bytes that are not zero follow one
//! another: the number of zeros before it, its length, its bytes.

use vector_search::page::memory::MemoryStore;
use vector_search::page::{Page, Store};

/// Dimensions of the rows.
pub const DIMS: u64 = 24;

/// Row `n` of the table that the index was made for.
pub fn row(n: u64, bits: bool) -> Vec<f32> {
    let number = |mixed: u64| (mixed >> 40) as f32 / 16_777_216.0;
    let value = |j: u64| {
        let own = number((n * 31 + j).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let near = number((n % 7 * 13 + j).wrapping_mul(0xD1B5_4A32_D192_ED03));
        2.0 * near + own
    };
    (0..DIMS).map(value).map(|x| if bits { f32::from(x > 1.5) } else { x }).collect()
}

/// The files of the formats from 1 on. They are part of the program, which may run where the source is not.
const FILES: [&[u8]; 4] = [
    include_bytes!("earlier/format-1.pages"),
    include_bytes!("earlier/format-2.pages"),
    include_bytes!("earlier/format-3.pages"),
    include_bytes!("earlier/format-4.pages"),
];

/// The pages of an index of this format.
pub fn pages(version: u16) -> MemoryStore {
    let (mut bytes, mut rest) = (Vec::new(), FILES[usize::from(version) - 1]);
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let number = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|j| head[i + j])) as usize;
        bytes.resize(bytes.len() + number(0), 0);
        bytes.extend_from_slice(&tail[..number(4)]);
        rest = &tail[number(4)..];
    }
    let store = MemoryStore::new();
    for bytes in bytes.chunks_exact(Page::zeroed().bytes().len()) {
        let add = store.change(|change| {
            let (_, handle) = change.extend()?;
            change.page_mut(handle).bytes_mut().copy_from_slice(bytes);
            Ok(())
        });
        add.unwrap();
    }
    store
}
