//! Which migrations a page of the overview shows: those that need somebody first. Pure.

use std::collections::HashMap;

use crate::operator::MigrationOverview;
use crate::stages::stage::Stage;

/// How many lines a page has.
pub(super) const LINES_MAX: usize = 50;

/// What the address asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Part of a name, in small letters.
    pub(super) search: String,
    /// Only those at this stage.
    pub(super) stage: Option<Stage>,
    /// Only those that need somebody.
    pub(super) needs: bool,
    /// Counted from one.
    pub(super) page: usize,
}

impl Asked {
    /// What cannot be understood asks for the first page.
    pub(super) fn of(fields: &HashMap<String, String>) -> Self {
        let search = fields.get("search").map(|text| text.trim().to_lowercase());
        let page = fields.get("page").and_then(|text| text.parse().ok()).unwrap_or(1);
        let stage = fields.get("stage").and_then(|text| text.parse().ok());
        let needs = fields.get("needs").is_some_and(|text| text == "1");
        Self { search: search.unwrap_or_default(), stage, needs, page: page.max(1) }
    }
}

/// What one page shows.
#[derive(Debug)]
pub(super) struct Listed<'m> {
    pub(super) lines: Vec<&'m MigrationOverview>,
    /// How many there are on all pages.
    pub(super) found: usize,
    /// Of these, those that need somebody.
    pub(super) in_need: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
}

/// Picks them. A page beyond the last one is the last one.
pub(super) fn listed<'m>(all: &'m [MigrationOverview], asked: &Asked) -> Listed<'m> {
    let mut lines: Vec<&MigrationOverview> =
        all.iter().filter(|one| is_asked(one, asked)).collect();
    // Stable: by name within.
    lines.sort_by_key(|one| one.attention().is_none());
    let in_need = lines.iter().filter(|one| one.attention().is_some()).count();
    let (found, pages) = (lines.len(), lines.len().div_ceil(LINES_MAX).max(1));
    let page = asked.page.clamp(1, pages);
    let lines = lines.into_iter().skip((page - 1) * LINES_MAX).take(LINES_MAX).collect();
    Listed { lines, found, in_need, page, pages }
}

fn is_asked(one: &MigrationOverview, asked: &Asked) -> bool {
    // The position begins with the stage.
    let stage = one.position.split([' ', ',']).next();
    one.name.to_lowercase().contains(&asked.search)
        && asked.stage.is_none_or(|wanted| stage == Some(wanted.as_str()))
        && (!asked.needs || one.attention().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(name: &str, instances: usize) -> MigrationOverview {
        MigrationOverview {
            maintenance: None,
            name: name.to_owned(),
            position: "off".to_owned(),
            epoch: crate::stages::position::Epoch(1),
            killed_by: None,
            unreadable: None,
            exact: None,
            generation: 1,
            backfill: None,
            started: Vec::new(),
            dead_letters: 0,
            dead_letters_to_old: 0,
            instances,
            mirror: None,
            sample: Default::default(),
            hazards: Vec::new(),
            preflight: None,
            verification: None,
            jobs: Vec::new(),
        }
    }

    fn asked(search: &str, page: usize) -> Asked {
        Asked { search: search.to_owned(), page, ..Asked::default() }
    }

    #[test]
    fn a_page_has_fifty_lines_and_those_that_need_somebody_come_first() {
        let mut all: Vec<_> = (0..120).map(|n| overview(&format!("m{n:03}"), 1)).collect();
        all[77].instances = 0;
        let first = listed(&all, &asked("", 1));
        assert_eq!((first.lines.len(), first.found, first.pages), (50, 120, 3));
        assert_eq!((&*first.lines[0].name, &*first.lines[1].name), ("m077", "m000"));
        assert_eq!(listed(&all, &asked("", 3)).lines.len(), 20);
        assert_eq!(listed(&all, &asked("", 99)).page, 3);
        let one = listed(&all, &asked("m07", 1));
        assert_eq!((one.found, one.pages), (10, 1));
        assert_eq!(listed(&all, &asked("nobody", 1)).lines.len(), 0);
        all[5].position = "live, epoch 9".to_owned();
        let live = Asked { stage: Some(Stage::Live), ..asked("", 1) };
        assert_eq!(listed(&all, &live).lines[0].name, "m005");
        let needs = listed(&all, &Asked { needs: true, ..asked("", 1) });
        assert_eq!((needs.found, needs.in_need), (1, 1));
    }

    #[test]
    fn what_cannot_be_understood_asks_for_the_first_page() {
        let fields = |page: &str| HashMap::from([("page".to_owned(), page.to_owned())]);
        for page in ["", "0", "-1", "x", "99999999999999999999999"] {
            assert_eq!(Asked::of(&fields(page)), asked("", 1), "{page}");
        }
        assert_eq!(Asked::of(&fields("2")).page, 2);
        let fields = HashMap::from([("search".to_owned(), " Customer ".to_owned())]);
        assert_eq!(Asked::of(&fields), asked("customer", 1));
    }
}
