//! Room 0: distances and bit counts on slices.
