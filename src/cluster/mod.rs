//! Room 1: k-means; the only room with threads.
