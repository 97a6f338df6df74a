//! Room 2: the file format and the page store.

pub mod memory;
#[allow(clippy::module_inception)]
pub mod page;
pub mod store;

pub use page::{CONTENT_SIZE, NO_BLOCK, PAGE_SIZE, Page, PageKind};
pub use store::{Change, MAX_CHANGE_PAGES, PageHandle, Store};
