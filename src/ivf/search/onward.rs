//! Whether a scan reads on, by how far what it has found is.
//!
//! A query between the clusters may be near the centroid of a list that holds several of them, and far from
//! all rows. That shows once the first lists are read: the tenth row found is farther than rows as queries
//! have it, or many further lists may hold nearer ones. Lists are read one by one then, until neither is so.

use super::rounds::Round;
use super::stages::LEAST_WINDOW;
use super::{Search, effort};
use crate::page::meta::LEVELS;

/// A scan that may read on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Onward {
    rule: effort::Onward,
    /// Lists that are read before.
    first: u32,
    /// Lists that are read without this rule, for ten rows.
    usual: u32,
}

impl Onward {
    /// Lists that a window takes of which the rule knows.
    pub fn first(self, window: u64) -> Option<u32> {
        (window <= LEAST_WINDOW).then_some(self.first)
    }
}

impl Search {
    /// The rule for the scan at hand. What filter columns leave out would make any query seem far.
    pub(super) fn onward(&self) -> Option<Onward> {
        let rule = effort::onward(&self.directory, self.settings.recall_target)?;
        if self.settings.probes != 0 || !self.scanner.filter.is_empty() {
            return None;
        }
        let usual = effort::lists(&self.directory, self.settings.recall_target, f64::from(LEVELS[0]));
        let further = self.further.unwrap_or(0.0);
        let whole = |share: f64| {
            let lists = effort::whole(share * usual + further, self.dither);
            lists.max(self.settings.least_probes).min(self.directory.lists())
        };
        Some(Onward { rule, first: whole(rule.share), usual: whole(1.0) })
    }

    /// Whether `next` is read for what the `read` lists before it have. Once it is not, the lists that the
    /// query takes are known.
    pub(super) fn goes_on(&mut self, read: u32, next: Option<u32>) -> bool {
        let Some(onward) = self.onward else { return false };
        let found = self.router.found(&self.directory);
        // No row beyond the ceiling is wanted.
        let tenth = self.candidates.tenth().min(self.ceiling);
        let is_far = |next: u32| {
            found.distance(tenth) > onward.rule.beyond
                && self.router.score(&self.directory, next) <= found.limit(tenth, onward.rule.excess)
        };
        if next.is_some_and(|next| read < onward.first || is_far(next)) {
            return true;
        }
        self.onward = None;
        let further = self.further.unwrap_or(0.0) + f64::from(read.saturating_sub(onward.usual));
        self.further = Some(further);
        let Round { window, probes, .. } = self.round;
        if self.stage.is_some() && window > LEAST_WINDOW {
            self.round.probes = probes.max(self.effort().first(window as f64, 1.0));
        }
        read < self.round.probes
    }
}
