//! Reading a list of an index whose operator's values deviate from what codes say: by L1, or over sketches.

use super::list_scan::{Candidate, Scanner, Sink};
use crate::error::Result;
use crate::ivf::deviation::Factors;
use crate::ivf::directory::Directory;
use crate::page::Store;
use crate::quant::{ListTerms, QueryCode, Width};

impl Scanner {
    /// As [`Scanner::list`], for an index whose values deviate.
    pub(super) fn list_of_deviating<S: Store>(
        &mut self,
        store: &S,
        directory: &Directory,
        query: &QueryCode,
        (list, terms, width): (u32, &dyn Fn() -> ListTerms, Width),
        sink: &mut impl Sink,
    ) -> Result<()> {
        let factors = directory.factors(width, query.length());
        let width = directory.width_of_codes(width);
        let has_elements = directory.codec.has_elements();
        let sink = &mut Widened { sink, factors, has_elements };
        self.list_of_codes(store, directory, query, (list, terms, width), sink)
    }
}

/// Passes on candidates, with bounds by codes made into bounds of keys.
struct Widened<'a, S> {
    sink: &'a mut S,
    factors: Option<Factors>,
    /// Whether extended records have elements, so that a candidate has bounds of keys already. Its place is
    /// the bound by codes.
    has_elements: bool,
}

impl<S: Sink> Sink for Widened<'_, S> {
    fn threshold(&self) -> f32 {
        let threshold = self.sink.threshold();
        match self.factors {
            Some(Factors { lower, below, .. }) if lower > 0.0 => ((threshold + below) / lower).next_up(),
            _ if threshold == f32::NEG_INFINITY => threshold,
            _ => f32::INFINITY,
        }
    }

    fn push(&mut self, list: u32, candidate: Candidate) {
        let Some(Factors { lower, upper, below, above }) = self.factors else {
            let none = Candidate { lower: f32::NEG_INFINITY, upper: f32::INFINITY, ..candidate };
            return self.sink.push(list, Candidate { place: f32::NEG_INFINITY, ..none });
        };
        // A negative bound stays below every key; a row without a bound stays without one.
        let lowered = |x: f32| if x == f32::NEG_INFINITY { x } else { x * lower - below };
        if self.has_elements {
            let place = lowered(candidate.place).max(candidate.lower);
            if candidate.lower < self.sink.threshold() {
                self.sink.push(list, Candidate { place, ..candidate });
            }
            return;
        }
        let widened = Candidate {
            lower: lowered(candidate.lower),
            upper: candidate.upper * if candidate.upper < 0.0 { lower } else { upper } + above,
            place: lowered(candidate.place),
            tid: candidate.tid,
        };
        if widened.lower < self.sink.threshold() {
            self.sink.push(list, widened);
        }
    }
}
