//! What a release declares of its migration, and gates are judged by: stored with each acknowledgement, so that
//! somebody who is no instance can judge them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stages::mirror::MirrorNote;
use crate::stages::stage::Stage;

/// What the release that asks for the move declares about its migration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) lazy: bool,
    pub(crate) soak: Duration,
    /// It has a copy function.
    pub(crate) copies: bool,
    /// The keys of new can be listed.
    pub(crate) sees_new: bool,
    /// What new alone got can be copied to old.
    pub(crate) can_copy_back: bool,
    /// Approvals, and the stage that no key enters without them.
    pub(crate) approvals: Vec<(Stage, String)>,
    /// How long old must not have been written without this library before new alone is.
    pub(crate) unaware_window: Duration,
    /// Old columns of the one table that an `INSERT` cannot leave out.
    pub(crate) needed_columns: Vec<String>,
    /// What the preflight refuses.
    pub(crate) refused: Vec<String>,
    /// What is missing of new, or cannot hold what old holds.
    pub(crate) unexpanded: Vec<String>,
    /// Constraints of old that reject what is written to new alone.
    pub(crate) rejecting: Vec<String>,
    /// What is wrong with the writes to the new side, where too many of them failed of late. What is stored has no
    /// figures, which change with every write.
    pub(crate) mirror_failing: Option<String>,
    /// What page and command show of failed mirror writes, where some failed of late.
    #[serde(default)]
    pub(crate) mirror: Option<MirrorNote>,
}

impl Terms {
    /// As the control tables keep them.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` where another release wrote what this one does not understand.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Of an instance that could not read the catalogue: what it declares of the tables is not known, so nobody may
    /// move forward by it.
    pub(crate) fn unread(mut self, instance: &str) -> Self {
        self.refused.push(format!(
            "instance {instance} has not read the catalogue of the tables yet; ask it for `readiness`, which reads it"
        ));
        self
    }

    /// What holds for all of these together: a gate that one of them has shut is shut. A job needs one instance that
    /// can do it.
    pub(crate) fn strictest<'t>(all: impl IntoIterator<Item = &'t Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let first = all.next()?.clone();
        Some(all.fold(first, Self::and))
    }

    fn and(mut self, other: &Self) -> Self {
        self.lazy &= other.lazy;
        self.soak = self.soak.max(other.soak);
        self.copies |= other.copies;
        self.sees_new |= other.sees_new;
        self.can_copy_back |= other.can_copy_back;
        self.unaware_window = self.unaware_window.max(other.unaware_window);
        add(&mut self.approvals, &other.approvals);
        add(&mut self.needed_columns, &other.needed_columns);
        add(&mut self.refused, &other.refused);
        add(&mut self.unexpanded, &other.unexpanded);
        add(&mut self.rejecting, &other.rejecting);
        self.mirror_failing = self.mirror_failing.or_else(|| other.mirror_failing.clone());
        self
    }
}

/// Adds those that are not there yet.
fn add<T: Clone + PartialEq>(to: &mut Vec<T>, others: &[T]) {
    for other in others {
        if !to.contains(other) {
            to.push(other.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let terms = Terms {
            lazy: true,
            soak: Duration::from_secs(90),
            approvals: vec![(Stage::Live, "dba".to_owned())],
            refused: vec!["table `t`: no key".to_owned()],
            ..Terms::default()
        };
        assert_eq!(Terms::of_text(&terms.to_text()), Some(terms));
        assert_eq!(Terms::of_text("{\"sideways\": true}"), None);
    }

    #[test]
    fn together_the_strictest_holds() {
        let careful = Terms {
            soak: Duration::from_secs(60),
            approvals: vec![(Stage::Live, "dba".to_owned())],
            ..Terms::default()
        };
        let hasty = Terms { lazy: true, copies: true, ..Terms::default() };
        let both = Terms::strictest([&hasty, &careful]).unwrap();
        assert_eq!((both.lazy, both.copies), (false, true));
        assert_eq!((both.soak, both.approvals.len()), (careful.soak, 1));
        assert_eq!(Terms::strictest([]), None);
    }

    #[test]
    fn together_each_declaration_is_joined_as_its_gate_needs_it() {
        let list = |word: &str| vec![word.to_owned()];
        let one = Terms {
            lazy: true,
            soak: Duration::from_secs(1),
            copies: true,
            sees_new: true,
            can_copy_back: true,
            approvals: vec![(Stage::Live, "dba".to_owned())],
            unaware_window: Duration::from_secs(2),
            needed_columns: list("a"),
            refused: list("b"),
            unexpanded: list("c"),
            rejecting: list("d"),
            mirror_failing: Some("e".to_owned()),
            mirror: None,
        };
        let none = Terms { lazy: true, ..Terms::default() };
        for all in [[&one, &none], [&none, &one]] {
            assert_eq!(Terms::strictest(all).unwrap(), one);
        }
        assert_eq!(Terms::strictest([&one, &one]).unwrap(), one, "nothing is said twice");
        let other = Terms { refused: list("x"), ..one.clone() };
        let both = Terms::strictest([&one, &other]).unwrap();
        assert_eq!(both.refused, ["b", "x"]);
        let neither = Terms::strictest([&Terms::default(), &none]).unwrap();
        assert_eq!(neither, Terms::default());
    }

    #[test]
    fn who_could_not_read_the_catalogue_refuses() {
        let unread = Terms::default().unread("7f3a");
        assert!(unread.refused[0].starts_with("instance 7f3a has not read"), "{unread:?}");
    }
}
