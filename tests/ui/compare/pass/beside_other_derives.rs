//! The derive neither needs nor disturbs others, nor a trait that is imported under the same name.

use dualwrite::{Compare, compare::Differences, Dual};

#[derive(Clone, Compare, Debug, Dual, PartialEq)]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    #[compare(reveal)]
    email: String,
    #[compare(ignore)]
    email_address: Option<String>,
}

/// By hand, where the derive cannot say it.
struct Reversed(String);

impl Compare for Reversed {
    fn compare(&self, new: &Self, at: &mut dualwrite::Comparison<'_>) {
        if self.0 != new.0.chars().rev().collect::<String>() {
            at.differ(&self.0, &new.0);
        }
    }
}

#[derive(Compare)]
struct Mirrored {
    #[compare(reveal)]
    text: Reversed,
}

fn main() {
    let old = Customer { id: 1, email: "a".into(), email_address: None };
    let mut new = old.clone();
    new.set_email_address("b");
    assert_eq!(Differences::between(&old, &new).to_string(), r#"email: "a" in old, "b" in new"#);
    let mirrored = |text: &str| Mirrored { text: Reversed(text.into()) };
    assert!(!Differences::exist_between(&mirrored("ab"), &mirrored("ba")));
    assert_eq!(
        Differences::between(&mirrored("ab"), &mirrored("ab")).to_string(),
        r#"text: "ab" in old, "ab" in new"#
    );
}
