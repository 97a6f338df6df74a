//! Whether a scan reads on, by how far what it has found is.
//!
//! A query between the clusters may be near the centroid of a list that holds several of them, and far from
//! all rows. That shows once the first lists are read: the tenth row found is farther than rows as queries
//! have it, or many further lists may hold nearer ones. Lists are read one by one then, until neither is so.

use super::effort;
use super::route::Router;
use super::settings::{Probes, Settings};
use crate::ivf::directory::Directory;
use crate::page::meta::LEVELS;

/// A scan that may read on.
#[derive(Clone, Copy, Debug)]
pub struct Onward {
    rule: effort::Onward,
    /// Lists that are read before.
    first: u32,
    /// Lists that are read without this rule, for ten rows.
    usual: u32,
}

impl Onward {
    /// The rule for a query, for which it has been measured that it takes `further` lists.
    pub fn new(directory: &Directory, settings: &Settings, further: f64, dither: f64) -> Option<Self> {
        let Probes::ForRecall { least } = settings.probes else { return None };
        let rule = effort::onward(directory, settings.recall_target)?;
        let usual = effort::lists(directory, settings.recall_target, f64::from(LEVELS[0]));
        let whole = |share: f64| {
            let lists = effort::whole(share * usual + further, dither);
            lists.max(least).min(directory.lists())
        };
        Some(Self { rule, first: whole(rule.share), usual: whole(1.0) })
    }

    /// Lists that are read in any case for ten rows.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Whether `next` is read for what the `read` lists before it have, of which this is the value of the
    /// tenth row.
    pub fn goes_on(&self, directory: &Directory, router: &Router, tenth: f32, read: u32, next: u32) -> bool {
        let found = router.found(directory);
        read < self.first
            || (found.distance(tenth) > self.rule.beyond
                && router.score(directory, next) <= found.limit(tenth, self.rule.excess))
    }

    /// Lists that a query reads beyond the usual ones, which has read so many.
    pub fn further(&self, read: u32) -> f64 {
        f64::from(read.saturating_sub(self.usual))
    }
}
