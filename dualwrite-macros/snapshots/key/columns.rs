// From:
//
// #[derive(Key)] #[key(crate = migrations)] struct ItemKey<T> where T: Clone { tenant: T, item: i64 }

#[automatically_derived]
impl<T> migrations::Key for ItemKey<T>
where
    T: Clone,
    T: migrations::Key,
    i64: migrations::Key,
{
    const KIND: migrations::KeyKind = <(T, i64) as migrations::Key>::KIND;
    #[inline]
    fn hash(&self, seed: ::core::primitive::u64) -> ::core::primitive::u64 {
        migrations::Key::hash(&(&self.tenant, &self.item), seed)
    }
    #[inline]
    fn integer(&self) -> ::core::option::Option<::core::primitive::i64> {
        migrations::Key::integer(&(&self.tenant, &self.item))
    }
    #[inline]
    fn check(&self) -> ::core::result::Result<(), migrations::Error> {
        migrations::Key::check(&(&self.tenant, &self.item))
    }
    fn push_parts(&self, parts: &mut ::std::vec::Vec<migrations::KeyPart>) {
        migrations::Key::push_parts(&(&self.tenant, &self.item), parts)
    }
}
#[automatically_derived]
impl<T> migrations::OwnedKey for ItemKey<T>
where
    T: Clone,
    T: migrations::OwnedKey,
    i64: migrations::OwnedKey,
    Self: ::core::clone::Clone + 'static,
{
    fn take(
        parts: &mut dyn ::core::iter::Iterator<Item = migrations::KeyPart>,
    ) -> ::core::result::Result<Self, migrations::Error> {
        let (column_0, column_1) = <(T, i64) as migrations::OwnedKey>::take(parts)?;
        ::core::result::Result::Ok(Self {
            tenant: column_0,
            item: column_1,
        })
    }
}
