#![doc = include_str!("README.md")]

pub mod codes;
pub mod columns;
pub mod extended;
pub mod lists;
pub mod memory;
pub mod meta;
#[allow(clippy::module_inception)]
pub mod page;
pub mod root;
pub mod store;
pub mod summary;
pub mod tape;
pub mod tid;
pub mod toast_locator;

pub use columns::{Columns, Key};
pub use meta::Meta;
pub use page::{CONTENT_SIZE, NO_BLOCK, PAGE_SIZE, Page, PageKind};
pub use root::Root;
pub use store::{Change, MAX_CHANGE_PAGES, PageHandle, Prefetch, Store};
pub use summary::Summary;
pub use tid::{RecordRef, TID_SIZE, Tid};
