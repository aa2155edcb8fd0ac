//! Nothing that is generated needs a module of its own.

use dualwrite::compare::Differences;

fn main() {
    #[derive(PartialEq)]
    struct Foreign(u8);

    #[derive(dualwrite::Compare)]
    struct Order {
        id: i64,
        foreign: Foreign,
        #[compare(key = id)]
        lines: Vec<Line>,
        kind: Kind,
        #[compare(with = same)]
        text: &'static str,
    }

    #[derive(dualwrite::Compare)]
    #[compare(other = NewLine)]
    struct OldLine {
        id: u8,
    }

    struct NewLine {
        id: u8,
    }

    #[derive(dualwrite::Compare)]
    struct Line {
        id: u8,
    }

    #[derive(dualwrite::Compare)]
    enum Kind {
        One(Foreign),
    }

    fn same(old: &str, new: &str) -> bool {
        old.len() == new.len()
    }

    let order = |id| Order {
        id,
        foreign: Foreign(1),
        lines: vec![Line { id: 1 }],
        kind: Kind::One(Foreign(1)),
        text: "a",
    };
    assert_eq!(Differences::between(&order(1), &order(2)).to_string(), "id: different");
    assert!(Differences::exist_between(&OldLine { id: 1 }, &NewLine { id: 2 }));
}
