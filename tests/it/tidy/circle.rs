//! The shortest circle in what imports what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// `a → b → a`, if there is any.
pub(crate) fn shortest<'s>(imports: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> Option<String> {
    let circles = imports.keys().filter_map(|module| back_to(module, imports));
    circles.min_by_key(Vec::len).map(|circle| circle.join(" → "))
}

fn back_to<'s>(
    start: &'s str,
    imports: &BTreeMap<&'s str, BTreeSet<&'s str>>,
) -> Option<Vec<&'s str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(module) = waiting.pop_front() {
        for import in imports.get(module).into_iter().flatten() {
            if *import == start {
                let mut circle = vec![start, module];
                while let Some(before) = from.get(circle[circle.len() - 1]) {
                    circle.push(before);
                }
                if circle.len() == 2 && module != start {
                    circle.push(start);
                }
                circle.reverse();
                return Some(circle);
            }
            if !from.contains_key(import) {
                from.insert(import, module);
                waiting.push_back(import);
            }
        }
    }
    None
}

#[test]
fn the_shortest_circle_is_found_and_named() {
    let imports = BTreeMap::from([
        ("a", BTreeSet::from(["b", "e"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a", "d"])),
        ("d", BTreeSet::from(["c"])),
        ("e", BTreeSet::new()),
    ]);
    assert_eq!(shortest(&imports).as_deref(), Some("c → d → c"));
    let tree = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::new())]);
    assert_eq!(shortest(&tree), None);
}
