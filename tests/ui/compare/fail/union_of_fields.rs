#[derive(dualwrite::Compare)]
union Bits {
    number: u32,
    float: f32,
}

fn main() {}
