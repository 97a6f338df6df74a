//! Room 3: the index algorithms over a page store.
