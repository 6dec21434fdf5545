//! Makes a list of operations that fails as short and plain as it goes: delta debugging.
//!
//! Invariant: what it gives still fails, and no single operation can be dropped from it, nor one of its numbers be made 0
//! or halved, without making it pass. (Unless the tries run out: a run takes a while.)

use super::ops::Op;

/// So many runs are enough for anybody's patience.
pub const TRIES_MAX: usize = 4000;

struct Shrinker<F> {
    ops: Vec<Op>,
    fails: F,
    tries: usize,
}

pub fn shrink(ops: Vec<Op>, fails: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut shrinker = Shrinker { ops, fails, tries: TRIES_MAX };
    while shrinker.drop_chunks() | shrinker.simplify() {}
    shrinker.ops
}

impl<F: FnMut(&[Op]) -> bool> Shrinker<F> {
    /// Takes these operations if they fail too.
    fn take(&mut self, ops: Vec<Op>) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        let better = (self.fails)(&ops);
        if better {
            self.ops = ops;
        }
        better
    }

    /// Drops halves, quarters, and so on down to single ones.
    fn drop_chunks(&mut self) -> bool {
        let mut any = false;
        let mut size = self.ops.len().div_ceil(2).max(1);
        loop {
            let mut at = self.ops.len();
            while at > 0 {
                at = at.saturating_sub(size);
                let end = (at + size).min(self.ops.len());
                let without = [&self.ops[..at], &self.ops[end..]].concat();
                any |= self.take(without);
            }
            if size == 1 {
                return any;
            }
            size = size.div_ceil(2);
        }
    }

    /// Makes each number 0, or half, or one less.
    fn simplify(&mut self) -> bool {
        let mut any = false;
        for i in 0..self.ops.len() {
            for n in 0..self.ops[i].numbers() {
                let number = self.ops[i].with[n];
                let plainer = [0, number / 2, number.saturating_sub(1)].into_iter().filter(|&plain| plain < number);
                any |= plainer.collect::<Vec<_>>().into_iter().any(|plain| {
                    let mut ops = self.ops.clone();
                    ops[i].with[n] = plain;
                    self.take(ops)
                });
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::super::ops::{What, draw, parse, print};
    use super::shrink;

    #[test]
    fn what_needs_two_operations_in_order_shrinks_to_these_two() {
        let fails = |ops: &[super::Op]| {
            let crash = ops.iter().position(|op| op.what == What::Crash);
            crash.is_some_and(|crash| ops[crash..].iter().any(|op| op.what == What::Append && op.with[4] >= 37))
        };
        let mut shrunk = 0;
        for ops in (0..60).map(draw).filter(|ops| fails(ops)) {
            assert_eq!(print(&shrink(ops, fails)), "crash 0 0 0 0; append 0 0 0 0 37 0");
            shrunk += 1;
        }
        assert!(shrunk > 10, "{shrunk}");
    }

    #[test]
    fn what_needs_a_number_of_operations_keeps_that_number() {
        let appends = |ops: &[super::Op]| ops.iter().filter(|op| op.what == What::Append).count();
        for ops in (0..60).map(draw).filter(|ops| appends(ops) >= 5) {
            assert_eq!(shrink(ops, |ops| appends(ops) >= 5), parse(&"append 0 0 0 0 0 0;".repeat(5)));
        }
    }

    #[test]
    fn what_always_fails_shrinks_to_nothing() {
        assert_eq!(shrink(draw(1), |_| true), []);
    }
}
