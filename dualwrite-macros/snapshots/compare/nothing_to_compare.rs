// From:
//
// #[derive(Compare)]
// enum Never {}

#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Compare for Never {
    fn compare(&self, _: &Self, _: &mut ::dualwrite::Comparison<'_>) {
        match *self {}
    }
}
