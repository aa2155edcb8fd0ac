#[derive(dualwrite::Dual)]
struct Tuple(#[dual(new = other)] String, Option<String>);

#[derive(dualwrite::Dual)]
struct Unit;

#[derive(dualwrite::Dual)]
enum Choice {
    Old(String),
    New(String),
}

#[derive(dualwrite::Dual)]
union Bits {
    old: u32,
    new: u32,
}

fn main() {}
