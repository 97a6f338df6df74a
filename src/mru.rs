//! The small cache of the project: a few values in the order of their last use, the latest first.
//!
//! It is searched from the front, and a value that is used moves there. This is fast for tens of values if
//! only a few of them are used often.

/// Values in the order of their last use.
pub struct Mru<T> {
    values: Vec<T>,
    most: usize,
}

impl<T> Mru<T> {
    /// Room for `most` values.
    pub const fn new(most: usize) -> Self {
        Self { values: Vec::new(), most }
    }

    /// Returns the first value for which `is` holds, and moves it to the front.
    pub fn find(&mut self, is: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = self.values.iter().position(is)?;
        self.values[..=at].rotate_right(1);
        self.values.first_mut()
    }

    /// As [`Mru::find`]; if there is no such value, inserts the value that `make` makes. If the cache is
    /// full, it drops the value that was used longest ago.
    pub fn find_or_insert(&mut self, is: impl FnMut(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
        match self.values.iter().position(is) {
            Some(at) => self.values[..=at].rotate_right(1),
            None => {
                self.values.truncate(self.most.saturating_sub(1));
                self.values.insert(0, make());
            }
        }
        &mut self.values[0]
    }

    /// The values in the order of their last use, the latest first. This does not count as a use.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// As [`Mru::iter`], with values that may be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }

    /// Keeps the values for which `keep` returns true. `keep` sees the value used last first.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.values.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(cache: &Mru<(u32, char)>) -> String {
        cache.iter().map(|(_, value)| *value).collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes() {
        let mut cache = Mru::new(3);
        for (key, value) in [(1, 'a'), (2, 'b'), (3, 'c')] {
            assert_eq!(*cache.find_or_insert(|(k, _)| *k == key, || (key, value)), (key, value));
        }
        assert_eq!(order(&cache), "cba");
        assert_eq!(cache.find(|(k, _)| *k == 1), Some(&mut (1, 'a')));
        assert_eq!(order(&cache), "acb", "used, it comes first");
        assert_eq!(*cache.find_or_insert(|(k, _)| *k == 3, || unreachable!()), (3, 'c'));
        cache.find_or_insert(|(k, _)| *k == 4, || (4, 'd'));
        assert_eq!(order(&cache), "dca", "there is room for three");
        assert_eq!(cache.find(|(k, _)| *k == 2), None);
        assert_eq!(order(&cache), "dca", "nothing was used");
    }

    #[test]
    fn values_are_looked_at_changed_and_left_out_where_they_are() {
        let mut cache = Mru::new(8);
        for key in 0..5 {
            cache.find_or_insert(|(k, _)| *k == key, || (key, 'x'));
        }
        for (key, value) in cache.iter_mut().filter(|(key, _)| *key > 2) {
            *value = char::from(b'0' + *key as u8);
        }
        assert_eq!(order(&cache), "43xxx");
        let mut asked = Vec::new();
        cache.retain(|(key, _)| {
            asked.push(*key);
            key % 2 == 0
        });
        assert_eq!((asked, order(&cache)), (vec![4, 3, 2, 1, 0], "4xx".to_owned()));
    }
}
