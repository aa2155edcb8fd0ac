use dualwrite::{Compare, compare::Differences};

struct Foreign;

#[derive(Compare)]
struct Page<T> {
    items: Vec<T>,
}

fn main() {
    let page = Page { items: vec![Foreign] };
    let _ = Differences::between(&page, &page);
    let _ = Differences::between(&Foreign, &Foreign);
}
