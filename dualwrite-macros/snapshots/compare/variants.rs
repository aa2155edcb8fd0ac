// From:
//
// #[derive(Compare)]
// #[compare(reveal)]
// enum Payment {
//     Cash,
//     Card { number: String, #[compare(ignore)] token: Token },
//     #[compare(rename = "transfer")]
//     Wire(Bank, #[compare(redact)] Iban),
// }

#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Compare for Payment {
    fn compare(&self, new: &Self, at: &mut ::dualwrite::Comparison<'_>) {
        use ::dualwrite::__private::{ByEquality as _, ByFields as _, ByNothing as _};
        match (self, new) {
            (Self::Cash {}, Self::Cash {}) => {}
            (Self::Card { number: old_0, .. }, Self::Card { number: new_0, .. }) => {
                (&&&::dualwrite::__private::Pair::of(old_0, new_0))
                    .compare_or_eq_revealed(&mut at.field("number").reveal());
            }
            (Self::Wire { 0: old_0, 1: old_1 }, Self::Wire { 0: new_0, 1: new_1 }) => {
                (&&&::dualwrite::__private::Pair::of(old_0, new_0))
                    .compare_or_eq_revealed(&mut at.field("0").reveal());
                (&&&::dualwrite::__private::Pair::of(old_1, new_1))
                    .compare_or_eq(&mut at.field("1"));
            }
            _ => ::dualwrite::__private::variants(self, new, &mut at.here().reveal()),
        }
    }
    fn show_old(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str(
            match self {
                Self::Cash { .. } => "Cash",
                Self::Card { .. } => "Card",
                Self::Wire { .. } => "transfer",
            },
        )
    }
    fn show_new(new: &Self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        ::dualwrite::Compare::<Self>::show_old(new, f)
    }
}
