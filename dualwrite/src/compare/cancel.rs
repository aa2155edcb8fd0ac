//! Which elements of two lists cancel out, given only what is the same as what.
//!
//! With a tolerance *the same* is not transitive: `1.0` may be near `1.1` and that near `1.2`. Taking
//! the first counterpart that fits could then leave elements over although all can be matched, and make
//! the answer depend on the order. So this is a matching of maximum size, grown along augmenting paths.

use std::collections::VecDeque;

/// The elements without a counterpart, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) old: Vec<usize>,
    pub(super) new: Vec<usize>,
}

impl Left {
    /// Nothing has cancelled out.
    pub(super) fn all(old: usize, new: usize) -> Self {
        Self { old: (0..old).collect(), new: (0..new).collect() }
    }
}

/// Matches as many elements as can be. Lists in the same order take one look at each element.
pub(super) fn cancel(old: usize, new: usize, is_same: impl Fn(usize, usize) -> bool) -> Left {
    let mut matching = Matching { owner: vec![None; new], seen: vec![None; new] };
    let mut unmatched = Vec::new();
    for i in 0..old {
        if i < new && is_same(i, i) {
            matching.owner[i] = Some(i);
        } else {
            unmatched.push(i);
        }
    }
    unmatched.retain(|&i| !matching.grow(i, &is_same));
    let free = (0..new).filter(|&j| matching.owner[j].is_none()).collect();
    Left { old: unmatched, new: free }
}

struct Matching {
    /// The old element that each new one is matched with.
    owner: Vec<Option<usize>>,
    /// For each new element, the search that saw it last, and the new element on the way there.
    seen: Vec<Option<(usize, Option<usize>)>>,
}

impl Matching {
    /// Finds a counterpart for an old element, moving others to different counterparts where needed.
    fn grow(&mut self, start: usize, is_same: &impl Fn(usize, usize) -> bool) -> bool {
        let mut waiting = VecDeque::from([(start, None)]);
        while let Some((i, way)) = waiting.pop_front() {
            for j in 0..self.owner.len() {
                let is_new = self.seen[j].is_none_or(|(search, _)| search != start);
                if !is_new || !is_same(i, j) {
                    continue;
                }
                self.seen[j] = Some((start, way));
                match self.owner[j] {
                    Some(owner) => waiting.push_back((owner, Some(j))),
                    None => {
                        self.turn(start, j);
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Gives each new element on the way to the one before it, the last being free until now.
    fn turn(&mut self, start: usize, last: usize) {
        let mut next = Some(last);
        while let Some(j) = next {
            let way = self.seen[j].and_then(|(_, way)| way);
            self.owner[j] = way.map_or(Some(start), |before| self.owner[before]);
            next = way;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(old: &[i32], new: &[i32], near: i32) -> (usize, usize) {
        let left = cancel(old.len(), new.len(), |i, j| (old[i] - new[j]).abs() <= near);
        (left.old.len(), left.new.len())
    }

    /// For numbers, sweeping both sorted lists from the smallest finds the largest matching.
    fn sweep(old: &[i32], new: &[i32], near: i32) -> (usize, usize) {
        let (mut old, mut new) = (old.to_vec(), new.to_vec());
        old.sort_unstable();
        new.sort_unstable();
        let (mut i, mut j, mut matched) = (0, 0, 0);
        while i < old.len() && j < new.len() {
            match old[i] - new[j] {
                apart if apart.abs() <= near => (i, j, matched) = (i + 1, j + 1, matched + 1),
                apart if apart < 0 => i += 1,
                _ => j += 1,
            }
        }
        (old.len() - matched, new.len() - matched)
    }

    #[test]
    fn a_counterpart_is_given_up_for_another_one() {
        assert_eq!(sizes(&[1, 0], &[1, 2], 1), (0, 0));
        assert_eq!(cancel(2, 2, |i, j| i == j), Left { old: vec![], new: vec![] });
        assert_eq!(cancel(3, 2, |i, j| i == 2 && j == 0), Left { old: vec![0, 1], new: vec![1] });
        assert_eq!(cancel(0, 2, |_, _| true), Left::all(0, 2));
    }

    proptest! {
        #[test]
        fn the_matching_is_as_large_as_can_be(
            old in prop::collection::vec(0..30, 0..12),
            new in prop::collection::vec(0..30, 0..12),
            near in 0..6,
        ) {
            prop_assert_eq!(sizes(&old, &new, near), sweep(&old, &new, near));
            let (left_new, left_old) = sizes(&new, &old, near);
            prop_assert_eq!(sizes(&old, &new, near), (left_old, left_new));
        }
    }
}
