//! Items whose names, types and settings come out of `macro_rules!`, as invisible groups.

use dualwrite::{Compare, compare::Differences};

macro_rules! record {
    ($name:ident, $id:ident: $ty:ty, $key:expr, $share:literal, $same:path, $other:path, $path:literal) => {
        #[derive(Compare)]
        #[compare(other = $other)]
        struct $name {
            $id: $ty,
            #[compare(key = $key)]
            lines: Vec<Line>,
            #[compare(key = $id)]
            more: Vec<Line>,
            #[compare(tolerance = $share, relative = $share)]
            price: f64,
            #[compare(with = $same, rename = $path)]
            text: String,
        }
    };
}

#[derive(Compare)]
struct Line {
    id: u8,
}

struct New {
    id: Option<u8>,
    lines: Vec<Line>,
    more: Vec<Line>,
    price: f64,
    text: String,
}

mod rules {
    pub(super) fn same(old: &str, new: &str) -> bool {
        old == new
    }
}

record!(Old, id: Option<u8>, id, 0.25, rules::same, New, "words");

fn main() {
    let lines = || vec![Line { id: 1 }];
    let old = Old { id: Some(1), lines: lines(), more: vec![], price: 1.0, text: "a".into() };
    let new = New { id: None, lines: vec![], more: lines(), price: 2.0, text: "b".into() };
    assert_eq!(
        Differences::between(&old, &new).to_string(),
        "id: missing in new\nlines[…]: missing in new\nmore[…]: missing in old\n\
         price: different\nwords: different"
    );
}
