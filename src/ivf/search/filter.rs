//! Conditions on the filter columns, tested for the 32 rows of a block at once.

use crate::kernel;
use crate::kernel::BLOCK_ROWS;
use crate::page::Summary;
use crate::page::codes::{BlockRef, Layout};

/// With up to this many wanted keys, each is compared with all 32 keys of a block at once. With more, each
/// key of the block is looked up among the wanted ones, which takes as long for any number of them.
const COMPARED: usize = 16;
/// Up to this many wanted keys are looked up in a list's summary. With more, only the range from the first to
/// the last is tested: even if only a tenth of a list's 512 marks is set, one of 64 keys nearly always has
/// such a mark by chance.
const LOOKED_UP: usize = 64;

/// Which keys of a column are accepted. Only [`Accept::Null`] accepts NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// From the first to the second, both included; empty if the first is larger.
    Within(u64, u64),
    /// One of these, ascending.
    OneOf(Vec<u64>),
    /// Any key but these, ascending.
    NoneOf(Vec<u64>),
    /// Keys with all of these bits.
    AllBits(u64),
    /// Keys with at least one of these bits.
    AnyBits(u64),
    /// Any key.
    NotNull,
    /// None.
    Null,
}

impl Accept {
    /// Whether a list may have rows that fit.
    fn may_fit(&self, summary: &Summary) -> bool {
        match self {
            Self::Null => summary.has_nulls(),
            Self::NotNull => summary.has_keys(),
            Self::Within(low, high) if low == high => summary.may_have(*low),
            Self::Within(low, high) => summary.may_have_within(*low, *high),
            Self::OneOf(keys) if keys.len() <= LOOKED_UP => keys.iter().any(|&key| summary.may_have(key)),
            Self::OneOf(keys) => match (keys.first(), keys.last()) {
                (Some(&low), Some(&high)) => summary.may_have_within(low, high),
                _ => false,
            },
            Self::NoneOf(keys) => {
                let left_out = |key| keys.binary_search(&key).is_ok();
                summary.has_keys() && !summary.only_key().is_some_and(left_out)
            }
            Self::AllBits(bits) => summary.has_keys() && summary.union() & bits == *bits,
            Self::AnyBits(bits) => summary.union() & bits != 0,
        }
    }
}

/// What a row must have in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The number of the filter column, from 0.
    pub column: usize,
    /// The keys that fit.
    pub accept: Accept,
}

impl Condition {
    /// Whether no row can fulfil it.
    fn is_void(&self) -> bool {
        match &self.accept {
            Accept::Within(low, high) => low > high,
            Accept::OneOf(keys) => keys.is_empty(),
            Accept::AnyBits(bits) => *bits == 0,
            Accept::NoneOf(_) | Accept::AllBits(_) | Accept::NotNull | Accept::Null => false,
        }
    }

    /// The slots of a block whose rows fulfil it.
    fn slots(&self, layout: &Layout, block: BlockRef<'_>) -> u32 {
        let (nulls, keys) = layout.column(block, self.column);
        let wanted = match &self.accept {
            Accept::Null => return nulls,
            Accept::NotNull => u32::MAX,
            Accept::Within(low, high) => within(keys, *low, *high),
            Accept::OneOf(wanted) => among(keys, wanted),
            Accept::NoneOf(others) => !among(keys, others),
            Accept::AllBits(bits) => each(keys, |key| key & bits == *bits),
            Accept::AnyBits(bits) => each(keys, |key| key & bits != 0),
        };
        wanted & !nulls
    }
}

/// Conditions joined by `AND` and `OR`. There is no `NOT`: it is a matter of the conditions which of them
/// have a negation that a key tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clause<C = Condition> {
    /// A condition.
    One(C),
    /// All must hold.
    All(Vec<Self>),
    /// One must hold.
    Any(Vec<Self>),
}

impl<C> Clause<C> {
    /// The clause with each condition replaced by what `with` makes of it. `None` if nothing is known of a
    /// condition: then any row may fulfil it, and the result lets pass all rows that may fulfil the clause.
    /// It is `None` itself if these may be all rows.
    pub fn narrowed<D>(&self, with: &mut dyn FnMut(&C) -> Option<Clause<D>>) -> Option<Clause<D>> {
        match self {
            Self::One(condition) => with(condition),
            Self::All(parts) => Clause::all(parts.iter().map(|part| part.narrowed(with))),
            Self::Any(parts) => Clause::any(parts.iter().map(|part| part.narrowed(with))),
        }
    }

    /// Those parts of which something is known.
    pub fn all(parts: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let mut known: Vec<Self> = parts.flatten().collect();
        match known.len() {
            0 | 1 => known.pop(),
            _ => Some(Self::All(known)),
        }
    }

    /// One of the parts; `None` if of one of them nothing is known.
    pub fn any(parts: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        Some(Self::Any(parts.collect::<Option<_>>()?))
    }

    /// The conditions.
    pub fn conditions(&self) -> Vec<&C> {
        match self {
            Self::One(condition) => vec![condition],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::conditions).collect(),
        }
    }
}

impl Clause {
    fn is_void(&self) -> bool {
        match self {
            Self::One(condition) => condition.is_void(),
            Self::All(parts) => parts.iter().any(Self::is_void),
            Self::Any(parts) => parts.iter().all(Self::is_void),
        }
    }

    fn may_pass(&self, summary: &impl Fn(usize) -> Summary) -> bool {
        match self {
            Self::One(condition) => condition.accept.may_fit(&summary(condition.column)),
            Self::All(parts) => parts.iter().all(|part| part.may_pass(summary)),
            Self::Any(parts) => parts.iter().any(|part| part.may_pass(summary)),
        }
    }

    /// The slots of `live` whose rows pass.
    fn passing(&self, layout: &Layout, block: BlockRef<'_>, live: u32) -> u32 {
        match self {
            Self::One(condition) => live & condition.slots(layout, block),
            Self::All(parts) => all_passing(parts, layout, block, live),
            Self::Any(parts) => {
                let mut left = live;
                for part in parts {
                    if left == 0 {
                        break;
                    }
                    left &= !part.passing(layout, block, left);
                }
                live & !left
            }
        }
    }
}

fn all_passing(clauses: &[Clause], layout: &Layout, block: BlockRef<'_>, live: u32) -> u32 {
    let mut mask = live;
    for clause in clauses {
        if mask == 0 {
            break;
        }
        mask = clause.passing(layout, block, mask);
    }
    mask
}

/// Clauses that all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The clauses.
    pub clauses: Vec<Clause>,
}

impl Filter {
    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether no row can pass.
    pub fn is_void(&self) -> bool {
        self.clauses.iter().any(Clause::is_void)
    }

    /// Whether a list may have rows that pass, by its summary of a column.
    pub fn may_pass(&self, summary: impl Fn(usize) -> Summary) -> bool {
        self.clauses.iter().all(|clause| clause.may_pass(&summary))
    }

    /// The slots of `live` whose rows pass.
    pub fn passing(&self, layout: &Layout, block: BlockRef<'_>, live: u32) -> u32 {
        all_passing(&self.clauses, layout, block, live)
    }
}

/// The slots whose keys are among `wanted`.
fn among(keys: &[u8], wanted: &[u64]) -> u32 {
    match wanted.len() <= COMPARED {
        true => wanted.iter().fold(0, |mask, &key| mask | within(keys, key, key)),
        false => each(keys, |key| wanted.binary_search(&key).is_ok()),
    }
}

fn within(keys: &[u8], low: u64, high: u64) -> u32 {
    if let Ok(keys) = <&[u8; 8 * BLOCK_ROWS]>::try_from(keys) {
        return kernel::within_u64(keys, low, high);
    }
    // Keys have four bytes; a range beyond them contains no key.
    let (Ok(keys), Ok(low)) = (<&[u8; 4 * BLOCK_ROWS]>::try_from(keys), u32::try_from(low)) else { return 0 };
    kernel::within_u32(keys, low, u32::try_from(high).unwrap_or(u32::MAX))
}

fn each(keys: &[u8], fits: impl Fn(u64) -> bool) -> u32 {
    let width = keys.len() / BLOCK_ROWS;
    let key = |bytes: &[u8]| bytes.iter().rev().fold(0, |key, b| key << 8 | u64::from(*b));
    let keys = keys.chunks_exact(width).enumerate();
    keys.fold(0, |mask, (slot, bytes)| mask | u32::from(fits(key(bytes))) << slot)
}
