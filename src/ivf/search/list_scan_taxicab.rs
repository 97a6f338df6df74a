//! Reading a list of an index by L1: the bounds that codes give are those of Euclidean distances.

use super::list_scan::{Candidate, Scanner, Sink};
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::taxicab::Factors;
use crate::page::Store;
use crate::quant::{ListTerms, QueryCode, Width};

impl Scanner {
    /// As [`Scanner::list`], for an index by L1.
    pub(super) fn list_of_taxicab<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, terms, width): (u32, &dyn Fn() -> ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        let factors = directory.meta.taxicab.factors(width, directory.dims());
        self.list_of_codes(store, directory, query, (list, terms, width), &mut Widened { sink, factors })
    }
}

/// Passes on candidates whose bounds are those of squared Euclidean distances.
struct Widened<'a, S> {
    sink: &'a mut S,
    factors: Factors,
}

impl<S: Sink> Sink for Widened<'_, S> {
    fn threshold(&self) -> f32 {
        (self.sink.threshold() / self.factors.lower).next_up()
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        let Factors { lower, upper } = self.factors;
        // A negative bound stays below every key.
        let widened = Candidate {
            lower: candidate.lower * lower,
            upper: candidate.upper * if candidate.upper < 0.0 { lower } else { upper },
            place: candidate.place * lower,
            tid: candidate.tid,
        };
        if widened.lower < self.sink.threshold() {
            self.sink.push(list, widened);
        }
    }
}
