//! Whether a scan reads on for what it has found.
//!
//! If a list has several clusters, a query between them is near the list's centroid and far from all rows.
//! That shows once the first lists are read: the tenth row found is far, and many other lists may have nearer
//! ones. Then the scan reads list after list, until either is no longer so, but at most as many as
//! `effort::most` allows.

use super::effort;
use super::route::Router;
use super::settings::{Probes, Settings};
use crate::ivf::directory::Directory;
use crate::page::meta::LEVELS;

/// A scan that may read on.
#[derive(Clone, Copy, Debug)]
pub struct Onward {
    rule: effort::Onward,
    /// Number of lists that are read in any case.
    first: u32,
    /// Number of lists that are read for ten rows without this rule.
    usual: u32,
    /// Number of lists that are read at most for this rule.
    most: u32,
}

impl Onward {
    /// The rule for a query that reads `further` additional lists because it is far.
    pub fn new(directory: &Directory, settings: &Settings, further: f64, dither: f64) -> Option<Self> {
        let Probes::ForRecall { least } = settings.probes else { return None };
        let rule = effort::onward(directory, settings.recall_target)?;
        let usual = effort::lists(directory, settings.recall_target, f64::from(LEVELS[0]));
        let whole = |share: f64| {
            let lists = effort::whole(share * usual + further, dither);
            lists.max(least).min(directory.lists())
        };
        Some(Self { rule, first: whole(rule.share), usual: whole(1.0), most: effort::most(usual) })
    }

    /// Number of lists that are read in any case for ten rows.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Whether `next` is read for what the `read` lists before it have. `tenth` is the value of the tenth row
    /// of these.
    pub fn goes_on(&self, directory: &Directory, router: &Router, tenth: f32, read: u32, next: u32) -> bool {
        let found = router.found(directory);
        read < self.first
            || (read < self.most
                && found.distance(tenth) > self.rule.beyond
                && router.score(directory, next) <= found.limit(tenth, self.rule.excess))
    }

    /// `lists`, or the number that the rule allows in all, whichever is less.
    pub fn limit(&self, lists: u32) -> u32 {
        lists.min(self.first.max(self.most))
    }

    /// Number of lists beyond the usual ones, of a query that has read `read` lists.
    pub fn further(&self, read: u32) -> f64 {
        f64::from(read.saturating_sub(self.usual))
    }
}
