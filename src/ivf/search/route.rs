//! Which lists to read, best first: the relation of a query to the lists, and their order by [`Scores`].

use std::ops::Range;

use super::ranking::Ranking;
use super::scores::Scores;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::kernel;
use crate::memory::Grow;
use crate::quant::{Bytes, ListTerms};
use crate::value::Metric;

/// The query's relation to the lists.
#[derive(Default)]
pub struct Router {
    bytes: Bytes,
    /// Squared norm of the query.
    norm: f32,
    /// `<q', g> + <g, g>`: the part of inner products that is due to the origin.
    origin: f32,
    /// Length of the origin.
    origin_length: f32,
    ranking: Ranking,
    scores: Scores,
    /// Memory for the products with the centroids.
    dots: Vec<i32>,
}

impl Router {
    /// Scores all lists for the transformed query.
    ///
    /// # Errors
    /// Out of memory.
    pub fn set(&mut self, directory: &Directory, query: &[f32]) -> Result<()> {
        self.begin(directory, query)?;
        self.compare(directory, 0..directory.lists() as usize);
        self.end(directory);
        Ok(())
    }

    /// The first of the three steps of [`Router::set`]: takes the query.
    ///
    /// # Errors
    /// Out of memory.
    pub fn begin(&mut self, directory: &Directory, query: &[f32]) -> Result<()> {
        self.reserve(directory)?;
        self.prepare(directory, query);
        Ok(())
    }

    /// The second step, for all lists or for one part of them after the other.
    pub fn compare(&mut self, directory: &Directory, lists: Range<usize>) {
        directory.dots(&self.bytes.codes, lists.clone(), &mut self.dots[lists]);
    }

    /// The third step: scores the lists.
    pub fn end(&mut self, directory: &Directory) {
        self.scores.set(directory, &self.dots, (self.norm, self.bytes.scale));
    }

    /// Scores all lists, and prepares to return them in order.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start(&mut self, directory: &Directory, query: &[f32]) -> Result<()> {
        self.set(directory, query)?;
        self.restart(directory)
    }

    /// Returns to the best list: `next_list` gives all lists again.
    ///
    /// # Errors
    /// Out of memory.
    pub fn restart(&mut self, directory: &Directory) -> Result<()> {
        self.ranking.start(self.scores.all(directory.meta.radius_weight))
    }

    /// Allocates what [`Router::start`] keeps of the lists and the query.
    fn reserve(&mut self, directory: &Directory) -> Result<()> {
        let lists = directory.lists() as usize;
        self.bytes.codes.clear();
        self.bytes.codes.grow(directory.padded())?;
        self.scores.reserve(lists)?;
        self.dots.clear();
        self.dots.try_resize(lists, 0)
    }

    fn prepare(&mut self, directory: &Directory, query: &[f32]) {
        self.bytes.set(query);
        self.relate(directory, query);
    }

    /// Prepares for the terms of lists only; no list is scored.
    pub fn relate(&mut self, directory: &Directory, query: &[f32]) {
        self.norm = kernel::inner_product(query, query);
        let g = &directory.origin;
        let squared = kernel::inner_product(g, g);
        self.origin = kernel::inner_product(query, g) + squared;
        self.origin_length = squared.sqrt();
    }

    /// The scores of all lists, with this weight of the radius. The list of the nearest centroid has the best
    /// one with any weight.
    pub fn scores(&self, weight: f32) -> impl ExactSizeIterator<Item = f32> {
        self.scores.all(weight)
    }

    /// How far the query is from the rows: its distance from the nearest centroid. For inner products, whose
    /// order does not depend on the query's length, it is the distance of the query scaled to the average
    /// length of the rows.
    pub fn distance(&self, directory: &Directory) -> f32 {
        match self.scores.nearest() {
            Some(nearest) => nearest.squared.sqrt(),
            None => self.distance_of_direction(directory),
        }
    }

    fn distance_of_direction(&self, directory: &Directory) -> f32 {
        let length = directory.mean_length();
        let factor = 2.0 * length / self.length();
        let squared = |(dot, norm, _, origin): (f32, f32, f32, f32)| {
            norm + 2.0 * origin - factor * (self.bytes.scale * dot + origin + self.origin)
        };
        let least = directory.products(&self.dots).map(squared).fold(f32::INFINITY, f32::min);
        (least + length * length + self.origin_length * self.origin_length).max(0.0).sqrt()
    }

    /// Number of lists whose *excess* is at most `excess`. The excess of a list is its score minus the least
    /// score. Its unit is the amount by which a list's score changes if its centroid is a mean radius farther
    /// away. These lists are a prefix of the routing order.
    pub fn count_within(&self, directory: &Directory, excess: f32) -> usize {
        let weight = directory.meta.radius_weight;
        let limit = self.scores.least(weight) + excess * self.unit(directory);
        self.scores.all(weight).filter(|score| *score <= limit).count()
    }

    /// The excess of each list. The list of the nearest centroid comes first, so its excess is less than any
    /// other.
    pub fn excesses(&self, directory: &Directory) -> impl Fn(u32) -> f32 {
        let weight = directory.meta.radius_weight;
        let (least, unit) = (self.scores.least(weight), self.unit(directory));
        move |list| (self.scores.of(list as usize, weight) - least) / unit
    }

    /// See [`Router::count_within`].
    fn unit(&self, directory: &Directory) -> f32 {
        let far = match self.scores.nearest() {
            Some(nearest) => nearest.squared.sqrt(),
            None => self.length(),
        };
        (far * directory.mean_radius()).max(f32::MIN_POSITIVE)
    }

    /// The length of the query in inner products, which are not relative to the origin.
    fn length(&self) -> f32 {
        let squared = self.origin_length * self.origin_length;
        (self.norm + 2.0 * self.origin - squared).max(f32::MIN_POSITIVE).sqrt()
    }

    /// Relates values of rows to the scores of lists, for this query.
    pub fn found(&self, directory: &Directory) -> Found {
        let radius = directory.mean_radius();
        match directory.metric() {
            Metric::InnerProduct => Found { length: self.length(), offset: self.origin, radius },
            _ => Found { length: 0.0, offset: 0.0, radius },
        }
    }

    /// The score of a list. The list of the nearest centroid has the least one.
    pub fn score(&self, directory: &Directory, list: u32) -> f32 {
        self.scores.of(list as usize, directory.meta.radius_weight)
    }

    /// The best list that has not been returned yet.
    pub fn next_list(&mut self) -> Option<u32> {
        self.ranking.next()
    }

    /// The list that `next_list` will return next.
    pub fn peek(&self) -> Option<u32> {
        self.ranking.peek()
    }

    /// The exact terms of a list for the estimator.
    pub fn terms(&self, directory: &Directory, list: u32, query: &[f32]) -> ListTerms {
        let (codes, scale) = directory.centroid(list);
        let dot = scale * kernel::dot_f32_i8(query, codes);
        let norm = directory.norm(list);
        let squared = (self.norm + norm - 2.0 * dot).max(0.0);
        let base = match directory.metric() {
            Metric::L2 | Metric::Cosine | Metric::Hamming | Metric::Jaccard | Metric::L1 => squared,
            Metric::InnerProduct => -(dot + directory.origin_product(list) + self.origin),
        };
        // If query and centroid are close to each other, their distance is a difference of large numbers.
        let floats = f32::EPSILON * (1.0 + 0.25 * (query.len() as f32).sqrt());
        let gap = (squared + floats * (self.norm + norm)).sqrt();
        // Error from products that are too small for floats in the operator or the codes, in units of the
        // index.
        let noise = 1e-44 * query.len() as f32 * (1.0 + directory.meta.scale * directory.meta.scale);
        let lengths = self.norm.sqrt() + norm.sqrt() + self.origin_length;
        ListTerms { base, gap, outside: gap, lengths, noise: noise.max(1e-36) }
    }
}

/// Relates values of rows to scores of lists, for one query.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The length of the query for inner product, otherwise zero.
    length: f32,
    /// The part of values that scores leave out.
    offset: f32,
    /// The mean radius of the lists.
    radius: f32,
}

impl Found {
    /// The distance of a row of this value. For inner product: minus its product with the query scaled to
    /// length one.
    pub fn distance(self, value: f32) -> f32 {
        if self.length > 0.0 { value / self.length } else { value.max(0.0).sqrt() }
    }

    /// The score of a list with this excess: the difference of its score from that of a row of this value, in
    /// units of distance times mean radius.
    pub fn limit(self, value: f32, excess: f32) -> f32 {
        self.score(value) + excess * self.unit(value)
    }

    /// The excess of a list with this score.
    pub fn excess(self, value: f32, score: f32) -> f32 {
        (score - self.score(value)) / self.unit(value)
    }

    fn score(self, value: f32) -> f32 {
        if self.length > 0.0 { value + self.offset } else { value.max(0.0) }
    }

    fn unit(self, value: f32) -> f32 {
        let far = if self.length > 0.0 { self.length } else { self.distance(value) };
        (far * self.radius).max(f32::MIN_POSITIVE)
    }
}
