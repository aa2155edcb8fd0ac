// From:
//
// #[derive(Key)] struct CustomerId(i64);

#[automatically_derived]
impl ::dualwrite::Key for CustomerId {
    const KIND: ::dualwrite::KeyKind = <i64 as ::dualwrite::Key>::KIND;
    #[inline]
    fn hash(&self, seed: ::core::primitive::u64) -> ::core::primitive::u64 {
        ::dualwrite::Key::hash(&self.0, seed)
    }
    #[inline]
    fn integer(&self) -> ::core::option::Option<::core::primitive::i64> {
        ::dualwrite::Key::integer(&self.0)
    }
    #[inline]
    fn check(&self) -> ::core::result::Result<(), ::dualwrite::Error> {
        ::dualwrite::Key::check(&self.0)
    }
    fn push_parts(&self, parts: &mut ::std::vec::Vec<::dualwrite::KeyPart>) {
        ::dualwrite::Key::push_parts(&self.0, parts)
    }
}
#[automatically_derived]
impl ::dualwrite::OwnedKey for CustomerId {
    fn take(
        parts: &mut dyn ::core::iter::Iterator<Item = ::dualwrite::KeyPart>,
    ) -> ::core::result::Result<Self, ::dualwrite::Error> {
        let column_0 = <i64 as ::dualwrite::OwnedKey>::take(parts)?;
        ::core::result::Result::Ok(Self { 0: column_0 })
    }
}
