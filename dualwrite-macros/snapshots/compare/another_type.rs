// From:
//
// #[derive(Compare)]
// #[compare(other = v2::Customer<'_>, ignore_other = (created, updated))]
// struct Customer {
//     id: i64,
//     #[compare(other = email_address)]
//     email: String,
//     #[compare(ignore)]
//     legacy: bool,
// }

#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Compare<v2::Customer<'_>> for Customer {
    fn compare(&self, new: &v2::Customer<'_>, at: &mut ::dualwrite::Comparison<'_>) {
        use ::dualwrite::__private::{ByEquality as _, ByFields as _, ByNothing as _};
        let v2::Customer::<'_> { id: _, email_address: _, created: _, updated: _ } = new;
        (&&&::dualwrite::__private::Pair::of(&self.id, &new.id))
            .compare_or_eq(&mut at.field("id"));
        (&&&::dualwrite::__private::Pair::of(&self.email, &new.email_address))
            .compare_or_eq(&mut at.field("email"));
    }
}
