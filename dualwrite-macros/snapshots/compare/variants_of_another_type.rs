// From:
//
// #[derive(Compare)]
// #[compare(other = v2::Status)]
// enum Status {
//     Open,
//     #[compare(ignore_other = by)]
//     Paid { amount: u64 },
// }

#[automatically_derived]
#[allow(deprecated, unreachable_patterns)]
impl ::dualwrite::Compare<v2::Status> for Status {
    fn compare(&self, new: &v2::Status, at: &mut ::dualwrite::Comparison<'_>) {
        use ::dualwrite::__private::{ByEquality as _, ByFields as _, ByNothing as _};
        match (self, new) {
            (Self::Open {}, v2::Status::Open {}) => {}
            (
                Self::Paid { amount: old_0 },
                v2::Status::Paid { amount: new_0, by: _ },
            ) => {
                (&&&::dualwrite::__private::Pair::of(old_0, new_0))
                    .compare_or_eq(&mut at.field("amount"));
            }
            _ => ::dualwrite::__private::variants(self, new, at),
        }
    }
    fn show_old(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str(
            match self {
                Self::Open { .. } => "Open",
                Self::Paid { .. } => "Paid",
            },
        )
    }
    fn show_new(
        new: &v2::Status,
        f: &mut ::core::fmt::Formatter<'_>,
    ) -> ::core::fmt::Result {
        f.write_str(
            match new {
                v2::Status::Open { .. } => "Open",
                v2::Status::Paid { .. } => "Paid",
                _ => "…",
            },
        )
    }
}
