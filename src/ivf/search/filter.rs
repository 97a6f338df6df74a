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

/// Conditions that all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Filter {
    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether no row can pass.
    pub fn is_void(&self) -> bool {
        self.conditions.iter().any(|c| match &c.accept {
            Accept::Within(low, high) => low > high,
            Accept::OneOf(keys) => keys.is_empty(),
            Accept::AnyBits(bits) => *bits == 0,
            Accept::AllBits(_) | Accept::NotNull | Accept::Null => false,
        })
    }

    /// Whether a list may have rows that pass, by its summary of a column.
    pub fn may_pass(&self, summary: impl Fn(usize) -> Summary) -> bool {
        self.conditions.iter().all(|c| c.accept.may_fit(&summary(c.column)))
    }

    /// The slots of `live` whose rows pass.
    pub fn passing(&self, layout: &Layout, block: BlockRef<'_>, live: u32) -> u32 {
        let mut mask = live;
        for condition in &self.conditions {
            if mask == 0 {
                break;
            }
            let (nulls, keys) = layout.column(block, condition.column);
            mask &= match &condition.accept {
                Accept::Null => nulls,
                Accept::NotNull => !nulls,
                Accept::Within(low, high) => within(keys, *low, *high) & !nulls,
                Accept::OneOf(wanted) if wanted.len() <= COMPARED => {
                    wanted.iter().fold(0, |m, &key| m | within(keys, key, key)) & !nulls
                }
                Accept::OneOf(wanted) => each(keys, |key| wanted.binary_search(&key).is_ok()) & !nulls,
                Accept::AllBits(bits) => each(keys, |key| key & bits == *bits) & !nulls,
                Accept::AnyBits(bits) => each(keys, |key| key & bits != 0) & !nulls,
            };
        }
        mask
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
