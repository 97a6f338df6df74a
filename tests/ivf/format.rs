//! The bytes on disk, written by hand from `src/page/README.md`. Older and newer builds must be able to read
//! them.

use half::f16;
use vector_search::error::{Kind, Result};
use vector_search::ivf::directory::Directory;
use vector_search::ivf::plain;
use vector_search::ivf::sketch::Sketch;
use vector_search::page::codes::Layout;
use vector_search::page::meta::{Deviation, Farther, Leading, Onward, SketchOf, TARGETS};
use vector_search::page::summary::{SUMMARY_SIZE, Summary};
use vector_search::page::{Columns, Meta, NO_BLOCK, Page, PageKind, RecordRef, Root, Store};
use vector_search::value::Metric;
use vector_search::value::sparse::SparseBuf;

use crate::originals;

fn read(page: &Page) -> Result<Meta> {
    Root::read(page).map(|root| root.current)
}

fn meta(columns: Columns) -> Meta {
    Meta {
        ready: true,
        metric: Metric::Cosine,
        bits: 4,
        dims: 768,
        seed: 0x0102_0304_0506_0708,
        instance: 0x1112_1314_1516_1718,
        generation: 9,
        lists: 400,
        scale: 0.5,
        radius_weight: 0.25,
        origin_first: 1,
        directory_first: 2,
        lists_first: 40,
        built_rows: 100_000,
        probes: std::array::from_fn(|i| 10 + i as u32),
        columns,
        efforts: std::array::from_fn(|level| std::array::from_fn(|i| (100 * level + i) as f32 + 0.5)),
        summaries_first: NO_BLOCK,
        first_list: 0,
        farther: Farther {
            beyond: std::array::from_fn(|i| i as f32 - 1.5),
            excesses: std::array::from_fn(|i| i as f32 + 0.25),
        },
        between: std::array::from_fn(|level| std::array::from_fn(|i| (100 * level + i) as f32 + 0.125)),
        onward: Onward {
            shares: std::array::from_fn(|i| 1.0 - i as f32 / 16.0),
            beyond: std::array::from_fn(|i| i as f32 - 2.5),
            excesses: std::array::from_fn(|i| i as f32 - 4.25),
        },
        deviation: Deviation { mean: 22.5, spread: 0.0625 },
        sketch: SketchOf::default(),
        leading: Leading::default(),
        may_be_plain: false,
    }
}

fn meta_bytes(version: u16, widths: &[u8], summaries: u32) -> Vec<u8> {
    let mut bytes = b"IVF1".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend([1, Metric::Cosine as u8, 4, widths.len() as u8, 0, 0]);
    bytes.extend(768u32.to_le_bytes());
    bytes.extend([8, 7, 6, 5, 4, 3, 2, 1]);
    bytes.extend([0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
    for word in [9u32, 400, 0.5f32.to_bits(), 0.25f32.to_bits(), 1, 2, 40] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(100_000u64.to_le_bytes());
    (10..10 + TARGETS.len() as u32).for_each(|p| bytes.extend(p.to_le_bytes()));
    bytes.extend(widths);
    bytes.resize(bytes.len() + 31 - widths.len(), 0);
    for effort in (0..3).flat_map(|level| (0..TARGETS.len()).map(move |i| (100 * level + i) as f32 + 0.5)) {
        bytes.extend(effort.to_le_bytes());
    }
    bytes.extend(summaries.to_le_bytes());
    for number in [-1.5, 0.25].iter().flat_map(|from| (0..TARGETS.len()).map(move |i| i as f32 + from)) {
        bytes.extend(number.to_le_bytes());
    }
    bytes.resize(700, 0);
    for lists in (0..2).flat_map(|level| (0..TARGETS.len()).map(move |i| (100 * level + i) as f32 + 0.125)) {
        bytes.extend(lists.to_le_bytes());
    }
    bytes.resize(800, 0);
    for (from, step) in [(1.0, -1.0 / 16.0), (-2.5, 1.0), (-4.25, 1.0)] {
        (0..TARGETS.len()).for_each(|i| bytes.extend((from + step * i as f32).to_le_bytes()));
    }
    [22.5f32, 0.0625].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes
}

#[test]
fn meta_pages_of_sketches_of_sets_are_as_documented() {
    // Such sketches have more coordinates than dimensions, for sixteen directions at a time.
    let sketch = SketchOf { dims: 512, seed: 7, elements: 0 };
    let of_sets = Meta { sketch, metric: Metric::InnerProduct, ..meta(Columns::default()) };
    let mut page = Page::zeroed();
    Root::of(of_sets.clone()).write(&mut page);
    assert_eq!(read(&page).unwrap(), of_sets);
    page.content_mut()[952..956].copy_from_slice(&500u32.to_le_bytes());
    assert!(read(&page).is_err(), "directions are not whole groups");
}

#[test]
fn meta_pages_are_as_documented() {
    for (version, widths) in [(1, &[][..]), (2, &[4, 8, 4])] {
        let meta = meta(Columns::new(widths).unwrap());
        let mut page = Page::zeroed();
        Root::of(meta.clone()).write(&mut page);
        let expected = meta_bytes(version, widths, 0);
        assert_eq!(page.bytes()[24..][..expected.len()], expected, "version {version}");
        assert_eq!(page.bytes()[8188..], [PageKind::Meta as u8, 0, 0x49, 0xff]);
        assert_eq!(read(&page).unwrap(), meta);
    }
    let sketch = SketchOf { dims: 1_000_000, seed: 0x2827_2625_2423_2221, elements: 0x40 };
    let of_sketches = Meta { sketch, ..meta(Columns::default()) };
    let mut page = Page::zeroed();
    Root::of(of_sketches.clone()).write(&mut page);
    let mut expected = meta_bytes(5, &[], 0);
    expected.extend(1_000_000u32.to_le_bytes());
    expected.extend([0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
    assert_eq!(page.bytes()[24..][..expected.len()], expected);
    assert_eq!(read(&page).unwrap(), of_sketches);
    page.content_mut()[4] = 1;
    assert!(read(&page).is_err(), "sketches in the oldest format");
    page.content_mut()[4] = 5;
    page.content_mut()[952..956].copy_from_slice(&700u32.to_le_bytes());
    assert!(read(&page).is_err(), "sketches with more coordinates than dimensions, by L2");
    // Codes of a leading space are of format 5.
    let leading = Leading { dims: 256, error: 0.5, bias: 0.25, most_outside: 0.125 };
    let new = Meta { leading, may_be_plain: true, ..meta(Columns::default()) };
    let mut page = Page::zeroed();
    Root::of(new.clone()).write(&mut page);
    let mut expected = meta_bytes(5, &[], 0);
    expected.resize(1000, 0);
    expected.extend(256u32.to_le_bytes());
    [0.5f32, 0.25, 0.125].iter().for_each(|number| expected.extend(number.to_le_bytes()));
    expected.push(1);
    assert_eq!(page.bytes()[24..][..expected.len()], expected);
    assert_eq!(read(&page).unwrap(), new);
    page.content_mut()[1016] = 2;
    assert!(read(&page).is_err(), "codes are plain or not");
    let mut page = Page::zeroed();
    // As written by version 0.1.0, which did not measure lists for more than ten rows.
    let new = meta(Columns::default());
    let old = Meta {
        efforts: Default::default(),
        farther: Default::default(),
        between: Default::default(),
        onward: Default::default(),
        deviation: Default::default(),
        sketch: Default::default(),
        ..new
    };
    Root::of(old.clone()).write(&mut page);
    assert_eq!(read(&page).unwrap(), old);
    // Offsets of the tables of lists, and of those for far queries.
    for at in [147, 295, 343, 700, 792, 800, 848, 940, 944, 948, 1004, 1008, 1012] {
        let mut page = Page::zeroed();
        Root::of(meta(Columns::default())).write(&mut page);
        page.content_mut()[at..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(read(&page).is_err(), "no number at {at}");
    }
    Root::of(meta(Columns::default())).write(&mut page);
    page.content_mut()[4] = 6;
    assert!(read(&page).unwrap_err().message.contains("format 6"));
    page.content_mut()[4] = 4;
    assert!(read(&page).is_err(), "the format of summaries without any");
    page.content_mut()[4] = 3;
    assert!(read(&page).is_err(), "the format of strings of bits for vectors");
    page.content_mut()[4] = 2;
    page.content_mut()[9] = 32;
    assert!(read(&page).is_err(), "more columns than there can be");
}

#[test]
fn plain_codes_are_of_the_newest_format() {
    let new = Meta { may_be_plain: true, ..meta(Columns::default()) };
    let mut page = Page::zeroed();
    Root::of(new.clone()).write(&mut page);
    assert_eq!((page.content()[4], page.content()[1016]), (5, 1));
    assert_eq!(read(&page).unwrap(), new);
    page.content_mut()[4] = 1;
    assert!(read(&page).is_err(), "plain codes in the oldest format");
}

#[test]
fn indexes_with_summaries_have_a_format_of_their_own() {
    for metric in [Metric::Cosine, Metric::Hamming] {
        let columns = Columns::new(&[4, 8, 4]).unwrap();
        let meta = Meta { metric, summaries_first: 0x0102_0304, ..meta(columns) };
        let mut page = Page::zeroed();
        Root::of(meta.clone()).write(&mut page);
        let mut expected = meta_bytes(4, &[4, 8, 4], 0x0102_0304);
        expected[7] = metric as u8;
        assert_eq!(page.bytes()[24..][..expected.len()], expected);
        assert_eq!(read(&page).unwrap(), meta);
        page.content_mut()[4] = 3;
        assert!(read(&page).is_err(), "summaries in a format that has none");
    }
}

#[test]
fn summaries_are_as_documented() {
    let mut summary = Summary::default();
    summary.add(Some(0x0102));
    summary.add(Some(0x0201));
    summary.add(None);
    let mut bytes = [0; SUMMARY_SIZE];
    summary.write(&mut bytes);
    let mut head = vec![0; 32];
    head[..2].copy_from_slice(&[0x02, 0x01]);
    head[8..10].copy_from_slice(&[0x01, 0x02]);
    head[16..18].copy_from_slice(&[0x03, 0x03]);
    head[24] = 1;
    assert_eq!(bytes[..32], head);
    // The highest nine bits of 0x0102 and 0x0201 times 0x9e3779b97f4a7c15.
    for (i, word) in bytes[32..].as_chunks::<8>().0.iter().enumerate() {
        let of = |number: usize| if number / 64 == i { 1u64 << (number % 64) } else { 0 };
        assert_eq!(u64::from_le_bytes(*word), of(231) | of(26));
    }
}

#[test]
fn indexes_over_bits_have_a_format_of_their_own() {
    for widths in [&[][..], &[4, 8, 4]] {
        let columns = Columns::new(widths).unwrap();
        let meta = Meta { metric: Metric::Hamming, bits: 1, dims: 64_000, ..meta(columns) };
        let mut page = Page::zeroed();
        Root::of(meta.clone()).write(&mut page);
        assert_eq!(page.content()[4..9], [3, 0, 1, 4, 1]);
        assert_eq!(read(&page).unwrap(), meta);
        // As it was before: refused, with the way out.
        page.content_mut()[4] = 1;
        let error = read(&page).unwrap_err();
        assert_eq!(error.kind, Kind::NotSupported);
        assert!(error.message.contains("format 1") && error.hint.unwrap().contains("REINDEX"));
    }
}

#[test]
fn earlier_versions_do_not_read_indexes_by_metrics_that_they_do_not_know() {
    for (metric, bits) in [(Metric::Jaccard, 1), (Metric::L1, 4)] {
        for summaries_first in [NO_BLOCK, 77] {
            let columns = Columns::new(&[4]).unwrap();
            let meta = Meta { metric, bits, summaries_first, ..meta(columns) };
            let mut page = Page::zeroed();
            Root::of(meta.clone()).write(&mut page);
            assert_eq!(page.content()[4..8], [5, 0, 1, metric as u8]);
            assert_eq!(read(&page).unwrap(), meta);
            for version in 1..5 {
                page.content_mut()[4] = version;
                assert!(read(&page).is_err(), "{metric:?} in format {version}");
            }
        }
    }
}

#[test]
fn blocks_of_bits_are_as_documented() {
    let columns = Columns::new(&[4]).unwrap();
    // 8152 bytes hold two blocks of 32 rows with their keys, and a third one with as many rows as still fit.
    let layout = Layout::of_bits(96, columns).unwrap();
    let (head, row) = (4 + 4 + (4 + 32 * 4), 6 + 96);
    let left = 8152 - 2 * (head + 32 * row);
    assert_eq!((layout.blocks(), layout.rows()), (3, 64 + (left - head) / row));
    let slots = layout.slots(2);
    let mut page = Page::zeroed();
    page.init(PageKind::Codes, 7);
    let mut block = layout.block_mut(&mut page, 2);
    block.put(3, 0xffff, 0xffff, RecordRef { blkno: 0x0102_0304, offset: 0x0506 });
    layout.put_keys(&mut block, 3, &[Some(0x0a0b_0c0d)]);
    assert_eq!(block.codes().len(), slots * 96);
    block.codes()[3 * 96] = 0x77;
    // live, owned; nulls and keys; references; strings.
    let mut expected = vec![0; head + slots * row];
    expected[0] = 1 << 3;
    expected[4] = 1 << 3;
    expected[8 + 4 + 12..][..4].copy_from_slice(&[0x0d, 0x0c, 0x0b, 0x0a]);
    expected[head + 18..][..6].copy_from_slice(&[4, 3, 2, 1, 6, 5]);
    expected[head + slots * 6 + 3 * 96] = 0x77;
    let at = 2 * (head + 32 * row);
    assert_eq!(page.content()[at..at + expected.len()], expected);
    assert!(page.content()[..at].iter().all(|&b| b == 0));
    // One row of the longest strings fits a page. If one row does not fit, there are too many columns.
    assert_eq!(Layout::of_bits(8000, Columns::default()).unwrap().rows(), 1);
    assert!(Layout::of_bits(8000, Columns::new(&[8]).unwrap()).is_err());
}

#[test]
fn blocks_of_codes_are_as_documented() {
    let layout = Layout::new(64, Columns::new(&[4, 8]).unwrap()).unwrap();
    let mut page = Page::zeroed();
    page.init(PageKind::Codes, 7);
    let (add, rescale) = (f16::from_f32(1.5), f16::from_f32(-2.0));
    let mut block = layout.block_mut(&mut page, 1);
    block.put(3, add.to_bits(), rescale.to_bits(), RecordRef { blkno: 0x0102_0304, offset: 0x0506 });
    layout.put_keys(&mut block, 3, &[Some(0x0a0b_0c0d), None]);
    block.codes()[0] = 0x77;
    // live, owned, factors, references; nulls and keys of each column; sixteen groups of codes.
    let size = 4 + 4 + 64 + 64 + 32 * 6 + (4 + 32 * 4) + (4 + 32 * 8) + 16 * 16;
    let mut expected = vec![0; size];
    expected[0] = 1 << 3;
    expected[4] = 1 << 3;
    expected[8 + 6..][..2].copy_from_slice(&[0, 0x3e]);
    expected[72 + 6..][..2].copy_from_slice(&[0, 0xc0]);
    expected[136 + 18..][..6].copy_from_slice(&[4, 3, 2, 1, 6, 5]);
    expected[328 + 4 + 12..][..4].copy_from_slice(&[0x0d, 0x0c, 0x0b, 0x0a]);
    expected[328 + 132] = 1 << 3;
    expected[328 + 132 + 260] = 0x77;
    assert_eq!(page.content()[size..2 * size], expected);
    assert_eq!(page.bytes()[8180..8184], [7, 0, 0, 0]);
}

#[test]
fn plain_codes_are_as_documented() {
    let layout = Layout::new(64, Columns::default()).unwrap().with_plain();
    let mut page = Page::zeroed();
    page.init(PageKind::Codes, 7);
    let signs = |slot: usize| -> [u8; 8] { std::array::from_fn(|i| (37 * slot + 11 * i + 5) as u8) };
    let put = |page: &mut Page, slot: usize| {
        plain::put(&layout, page, (1, slot), &signs(slot));
        layout.block_mut(page, 1).put(slot, 0, 0, RecordRef { blkno: 1, offset: slot as u16 });
    };
    // Rows follow one another, and the page's number is 2 plus the block's.
    (0..31).for_each(|slot| put(&mut page, slot));
    let codes = (4 + 4 + 64 + 64 + 32 * 6 + 16 * 16) + (4 + 4 + 64 + 64 + 32 * 6);
    let mut expected: Vec<u8> = (0..31).flat_map(signs).collect();
    expected.resize(256, 0);
    assert_eq!(page.content()[codes..][..256], expected);
    assert_eq!(page.bytes()[8184..8188], [3, 0, 0, 0]);
    // The last row packs them: byte 15 of a group has the nibbles of the slots 15 and 31.
    put(&mut page, 31);
    assert_eq!(page.bytes()[8184..8188], [0, 0, 0, 0]);
    for group in 0..16 {
        let nibble = |slot: usize| signs(slot)[group / 2] >> (4 * (group % 2)) & 15;
        let bytes = &page.content()[codes + 16 * group..][..16];
        assert_eq!((bytes[0], bytes[1]), (nibble(0) | nibble(16) << 4, nibble(8) | nibble(24) << 4));
        assert_eq!((bytes[14], bytes[15]), (nibble(7) | nibble(23) << 4, nibble(15) | nibble(31) << 4));
    }
}

/// The key of an index, as documented.
fn key(seed: u64, index: u32, dims: u32) -> u16 {
    if dims > 65_536 {
        // SplitMix64's first number
        let mut z = (seed ^ u64::from(index)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        return ((z ^ (z >> 31)) >> 48) as u16;
    }
    let mut key = index ^ (seed & 0xFFFF) as u32;
    for _ in 0..3 {
        key = (key * (((seed >> 16) & 0xFFFF) as u32 | 1)) & 0xFFFF;
        key ^= key >> 7;
        key = (key * 0x9E37) & 0xFFFF;
        key ^= key >> 9;
    }
    key as u16
}

#[test]
fn records_of_sparse_vectors_are_as_documented() {
    const SEED: u64 = 0x0123_4567_89AB_CDEF;
    for (dims, metric) in [(60_000, Metric::L2), (100_000, Metric::L1)] {
        let row = SparseBuf { dims, indices: vec![0, 7, 896, 59_999], values: vec![1.0, -12.7, 0.1, 6.0] };
        let table = [(3, row.clone())].into_iter().collect();
        let world = originals::World::build(table, Sketch::of_sparse(dims, SEED), metric, 1);
        let n = Directory::load(&world.store).unwrap().meta.sketch.elements as usize;
        assert_eq!(n, 16);
        let pages = (0..world.store.nblocks().unwrap()).map(|blkno| world.store.read(blkno).unwrap());
        let mut pages = pages.filter(|page| page.kind() == Some(PageKind::Extended));
        let page = pages.next().unwrap();
        let record = &page.content()[..18 + 3 * n];
        let float = |at: usize| f32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        let length = if metric == Metric::L1 { 19.8 } else { (1.0f32 + 161.29 + 0.01 + 36.0).sqrt() };
        assert!((float(6) - length).abs() < 1e-3 && (float(10) - 0.1).abs() < 1e-6);
        assert!(float(14) == 0.0 && float(14).is_sign_negative());
        let keys = record[18..18 + 2 * n].as_chunks::<2>().0.iter().map(|key| u16::from_le_bytes(*key));
        let values = record[18 + 2 * n..].iter().map(|value| value.cast_signed());
        let expected = row.indices.iter().map(|index| key(SEED, *index as u32, dims as u32));
        let mut expected: Vec<(u16, i8)> = expected.zip([10, -127, 1, 60]).collect();
        expected.resize(n, (0, 0));
        assert_eq!(keys.zip(values).collect::<Vec<_>>(), expected);
    }
}
