//! Room 1: rotation, RaBitQ codes and their block layout.
