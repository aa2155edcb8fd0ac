trait Customers {}

#[dualwrite::repository]
struct Store;

#[dualwrite::repository]
impl Customers for Store {}

fn main() {}
