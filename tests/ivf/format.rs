//! The bytes on disk, written down by hand from `src/page/README.md`: what an older or newer build must read.

use half::f16;
use vector_search::page::codes::Layout;
use vector_search::page::lists::{self, ListState};
use vector_search::page::meta::TARGETS;
use vector_search::page::{Columns, Meta, Page, PageKind, RecordRef};
use vector_search::value::Metric;

fn meta(columns: Columns, copy_limit: f32) -> Meta {
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
        copy_limit,
    }
}

fn meta_bytes(version: u16, widths: &[u8]) -> Vec<u8> {
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
    // Room for all columns; the limit of copies, which is zero in older formats.
    bytes.resize(bytes.len() + 31 - widths.len(), 0);
    bytes.extend(if version == 3 { 1.75f32 } else { 0.0 }.to_le_bytes());
    bytes
}

#[test]
fn meta_pages_are_as_documented() {
    for (version, widths) in [(1, &[][..]), (2, &[4, 8, 4]), (3, &[]), (3, &[8, 4])] {
        let limit = if version == 3 { 1.75 } else { 0.0 };
        let meta = meta(Columns::new(widths).unwrap(), limit);
        let mut page = Page::zeroed();
        meta.write(&mut page);
        let expected = meta_bytes(version, widths);
        assert_eq!(page.bytes()[24..][..expected.len()], expected, "version {version}");
        assert_eq!(page.bytes()[8188..], [PageKind::Meta as u8, 0, 0x49, 0xff]);
        assert_eq!(Meta::read(&page).unwrap(), meta);
    }
    let mut page = Page::zeroed();
    meta(Columns::default(), 0.0).write(&mut page);
    page.content_mut()[4] = 4;
    assert!(Meta::read(&page).unwrap_err().message.contains("format 4"));
    page.content_mut()[4] = 2;
    page.content_mut()[9] = 32;
    assert!(Meta::read(&page).is_err(), "more columns than there can be");
}

#[test]
fn list_states_are_as_documented() {
    let old = ListState { head: 5, insert: 6, extended: 9, rows: 70, contiguous: 2, ..ListState::default() };
    let new = ListState { copies: 40, copies_insert: 41, copies_contiguous: 2, ..old };
    for (state, copies) in [(old, [0, 0, 0]), (new, [40, 41, 2])] {
        let mut page = Page::zeroed();
        page.init(PageKind::Lists, 0);
        lists::write(&mut page, 3, &state);
        let words = [5u32, 6, 9, 70, 2].into_iter().chain(copies);
        let expected: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        assert_eq!(page.content()[96..128], expected);
        assert_eq!(lists::read(&page, 3), state);
    }
}

#[test]
fn copies_are_as_documented() {
    let columns = Columns::new(&[8]).unwrap().with_number().unwrap();
    let layout = Layout::new(64, columns).unwrap();
    let mut page = Page::zeroed();
    page.init(PageKind::Copies, 7);
    assert_eq!(page.bytes()[8188..], [8, 0, 0x49, 0xff]);
    let mut block = layout.block_mut(&mut page, 0);
    // The row in slot 5 of the second block of page 9, which is in list 6.
    block.put(1, 0, 0, Layout::slot_reference(9, 1, 5));
    layout.put_keys(&mut block, 1, &[None, Some(6)]);
    assert_eq!(page.content()[136 + 6..][..6], [9, 0, 0, 0, 37, 0]);
    // Behind the references and the filter column: nulls and the lists.
    assert_eq!(page.content()[328 + 260..][..4], [0; 4]);
    assert_eq!(page.content()[328 + 260 + 4 + 4..][..4], [6, 0, 0, 0]);
    let view = layout.block(&page, 0);
    assert_eq!(layout.own_list(view, 1), 6);
    assert_eq!(layout.slot_of(view.reference(1)).unwrap(), (1, 5));
    assert!(Columns::new(&[4; 31]).unwrap().with_number().is_none());
}

#[test]
fn blocks_of_codes_are_as_documented() {
    let layout = Layout::new(64, Columns::new(&[4, 8]).unwrap()).unwrap();
    let mut page = Page::zeroed();
    page.init(PageKind::Codes, 7);
    let (add, rescale) = (f16::from_f32(1.5), f16::from_f32(-2.0));
    let mut block = layout.block_mut(&mut page, 1);
    block.put(3, add.to_bits(), rescale.to_bits(), RecordRef { block: 0x0102_0304, offset: 0x0506 });
    layout.put_keys(&mut block, 3, &[Some(0x0a0b_0c0d), None]);
    block.codes()[0] = 0x77;
    // live, owned, factors, references; of each column nulls and keys; sixteen groups of codes.
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
