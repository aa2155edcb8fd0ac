// From:
//
// #[derive(Compare)]
// pub struct Order {
//     id: i64,
//     #[compare(reveal)]
//     status: Status,
//     #[compare(ignore)]
//     updated: SystemTime,
//     #[compare(tolerance = 0.01, relative = 0.001)]
//     total: f64,
//     #[compare(with = rules::same_email, rename = "mail")]
//     r#email: String,
//     #[compare(unordered)]
//     tags: Vec<String>,
//     #[compare(key = id, reveal)]
//     lines: Vec<Line>,
//     #[compare(key = (tenant.id, 0))]
//     parts: Vec<Part>,
//     #[compare(key = Note::key)]
//     notes: Vec<Note>,
// }

#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Compare for Order {
    fn compare(&self, new: &Self, at: &mut ::dualwrite::Comparison<'_>) {
        use ::dualwrite::__private::{ByEquality as _, ByFields as _, ByNothing as _};
        (&&&::dualwrite::__private::Pair::of(&self.id, &new.id))
            .compare_or_eq(&mut at.field("id"));
        (&&&::dualwrite::__private::Pair::of(&self.status, &new.status))
            .compare_or_eq_revealed(&mut at.field("status").reveal());
        ::dualwrite::__private::near(
            &self.total,
            &new.total,
            0.01,
            0.001,
            &mut at.field("total"),
        );
        ::dualwrite::__private::judge(
            rules::same_email(&self.r#email, &new.r#email),
            &mut at.field("mail"),
        );
        ::dualwrite::__private::unordered(
            &self.tags,
            &new.tags,
            |pair, at: &mut ::dualwrite::Comparison<'_>| (&&&pair).compare_or_eq(at),
            &mut at.field("tags"),
        );
        ::dualwrite::__private::keyed(
            &self.lines,
            &new.lines,
            "id",
            |element| &element.id,
            |element| &element.id,
            |pair, at: &mut ::dualwrite::Comparison<'_>| {
                (&&&pair).compare_or_eq_revealed(at)
            },
            &mut at.field("lines").reveal(),
        );
        ::dualwrite::__private::keyed(
            &self.parts,
            &new.parts,
            "(tenant.id, 0)",
            |element| (&element.tenant.id, &element.0),
            |element| (&element.tenant.id, &element.0),
            |pair, at: &mut ::dualwrite::Comparison<'_>| (&&&pair).compare_or_eq(at),
            &mut at.field("parts"),
        );
        ::dualwrite::__private::keyed(
            &self.notes,
            &new.notes,
            "key",
            Note::key,
            Note::key,
            |pair, at: &mut ::dualwrite::Comparison<'_>| (&&&pair).compare_or_eq(at),
            &mut at.field("notes"),
        );
    }
}
