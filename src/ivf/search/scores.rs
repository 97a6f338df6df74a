//! The lists' scores for one query: the smaller, the earlier a list is read.
//!
//! The score is optimistic: a list's nearest row matters, not its mean, so a list with a large radius comes
//! earlier than its centroid's distance alone would put it. But the list of the nearest centroid comes first,
//! because it contains rows that equal the query, and a user who asks for a stored vector expects to find it.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::memory::Grow;
use crate::value::Metric;

/// Values that are compared together when the least is looked for.
const TOGETHER: usize = 16;

/// The parts of the scores, which do not depend on the weight of the radius, as two columns: the compiler
/// computes several lists at once.
#[derive(Default)]
pub(super) struct Scores {
    /// Score of each list if its radius were zero; −∞ for the list of the nearest centroid.
    far: Vec<f32>,
    /// How much nearer each list's nearest row may be because of its radius.
    spread: Vec<f32>,
    nearest: Option<Nearest>,
}

/// The list of the nearest centroid. With inner products there is none, because a row that equals the query
/// need not be among the nearest.
#[derive(Clone, Copy)]
pub(super) struct Nearest {
    list: usize,
    /// Squared Euclidean distance of its centroid.
    pub squared: f32,
    /// Its score, if it were not put first and its radius were zero.
    far: f32,
}

impl Scores {
    /// Allocates the memory for so many lists.
    pub fn reserve(&mut self, lists: usize) -> Result<()> {
        self.far.clear();
        self.far.try_resize(lists, 0.0)?;
        self.spread.clear();
        self.spread.try_resize(lists, 0.0)
    }

    /// Scores the lists, from the products of their centroids with a query of this squared norm, whose bytes
    /// have this scale.
    pub fn set(&mut self, directory: &Directory, dots: &[i32], (norm, scale): (f32, f32)) {
        let Self { far, spread, .. } = self;
        let lists = far.iter_mut().zip(spread.iter_mut()).zip(directory.products(dots));
        match directory.metric() {
            Metric::L2 | Metric::Cosine | Metric::Hamming | Metric::L1 => {
                for ((far, spread), (dot, centroid, radius, _)) in lists {
                    let squared = (norm + centroid - 2.0 * scale * dot).max(0.0);
                    *far = squared;
                    *spread = squared.sqrt() * radius;
                }
                self.find_nearest();
                for (far, (.., radius, _)) in self.far.iter_mut().zip(directory.products(dots)) {
                    *far += radius * radius;
                }
            }
            Metric::Jaccard => {
                for ((far, _), (dot, centroid, ..)) in lists {
                    *far = (norm + centroid - 2.0 * scale * dot).max(0.0);
                }
                self.find_nearest();
                let lists = self.far.iter_mut().zip(self.spread.iter_mut()).zip(directory.products(dots));
                for ((far, spread), list) in lists {
                    (*far, *spread) = parts_by_jaccard(norm, scale, list);
                }
            }
            Metric::InnerProduct => {
                let half = 0.5 * norm.sqrt();
                for ((far, spread), (dot, _, radius, origin)) in lists {
                    *far = -(scale * dot + origin);
                    *spread = half * radius;
                }
                self.nearest = None;
            }
        }
        if let Some(nearest) = &mut self.nearest {
            nearest.far = std::mem::replace(&mut self.far[nearest.list], f32::NEG_INFINITY);
        }
    }

    /// Finds the nearest centroid, while `far` has their squared distances.
    fn find_nearest(&mut self) {
        let nearest = least(&self.far).filter(|(_, squared)| squared.is_finite());
        self.nearest = nearest.map(|(list, squared)| Nearest { list, squared, far: squared });
    }

    /// The list of the nearest centroid, if it has been put first.
    pub fn nearest(&self) -> Option<Nearest> {
        self.nearest
    }

    /// The score of a list; that of a list that does not exist is infinite.
    pub fn of(&self, list: usize, weight: f32) -> f32 {
        match (self.far.get(list), self.spread.get(list)) {
            (Some(far), Some(spread)) => far - weight * spread,
            _ => f32::INFINITY,
        }
    }

    /// The scores of all lists, with this weight of the radius.
    pub fn all(&self, weight: f32) -> impl ExactSizeIterator<Item = f32> {
        self.far.iter().zip(&self.spread).map(move |(far, spread)| far - weight * spread)
    }

    /// The least score, if the list of the nearest centroid were not put first.
    pub fn least(&self, weight: f32) -> f32 {
        let own = |nearest: Nearest| nearest.far - weight * self.spread[nearest.list];
        let first = self.nearest.map_or(f32::INFINITY, own);
        let others =
            self.all(weight).map(|score| if score > f32::NEG_INFINITY { score } else { f32::INFINITY });
        others.fold(first, |least, score| if score < least { score } else { least })
    }
}

/// The first of the least values, and its place. NaN is never the least.
fn least(values: &[f32]) -> Option<(usize, f32)> {
    let (whole, rest) = values.as_chunks();
    let mut best = (None, f32::INFINITY);
    for (number, some) in whole.iter().enumerate() {
        let least = least_of(some);
        if least < best.1 {
            best = (Some(TOGETHER * number), least);
        }
    }
    for (number, &value) in (TOGETHER * whole.len()..).zip(rest) {
        if value < best.1 {
            best = (Some(number), value);
        }
    }
    let first = best.0?;
    let at = values[first..].iter().position(|&x| x == best.1)?;
    Some((first + at, best.1))
}

/// The least of some values, in halves, so that the compiler takes several together.
fn least_of(values: &[f32; TOGETHER]) -> f32 {
    let lesser = |a: f32, b: f32| if a < b { a } else { b };
    let known: [f32; TOGETHER] = values.map(|x| lesser(x, f32::INFINITY));
    let eight: [f32; 8] = std::array::from_fn(|i| lesser(known[i], known[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| lesser(eight[i], eight[i + 4]));
    lesser(lesser(four[0], four[2]), lesser(four[1], four[3]))
}

/// The two parts of a list's score in an index by Jaccard distance. The query has `ones` bits set, and its
/// bytes have this scale; the list is as [`Directory::products`] gives it.
fn parts_by_jaccard(ones: f32, scale: f32, list: (f32, f32, f32, f32)) -> (f32, f32) {
    let (dot, _, radius, of_rows) = list;
    let both = scale * dot;
    let either = (ones + of_rows - both).max(1.0);
    // How much the distance falls if a row has another bit of the query: the row is longer by that bit, so
    // `either` does not change.
    let slope = 1.0 / either;
    (1.0 - both / either, 0.5 * ones.sqrt() * radius * slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_least_values() {
        assert_eq!(least(&[]), None);
        assert_eq!(least(&[f32::NAN, f32::INFINITY]), None);
        let mut values = vec![3.0; 100];
        assert_eq!(least(&values), Some((0, 3.0)));
        values[99] = 1.0;
        assert_eq!(least(&values), Some((99, 1.0)));
        (values[17], values[40], values[41]) = (f32::NAN, 1.0, 1.0);
        assert_eq!(least(&values), Some((40, 1.0)));
        values[3] = f32::NEG_INFINITY;
        assert_eq!(least(&values), Some((3, f32::NEG_INFINITY)));
    }
}
