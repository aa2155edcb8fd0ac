// From:
//
// #[derive(Dual)]
// #[dual(crate = migrations)]
// struct Record<T: Clone, const SIZE: usize> {
//     #[dual(new = tag_list)]
//     tags: Option<Vec<T>>,
//     tag_list: Option<Vec<T>>,
//     #[dual(new = r#type)]
//     kind: Option<[u8; SIZE]>,
//     pub(crate) r#type: [u8; SIZE],
// }

impl<T: Clone, const SIZE: usize> Record<T, SIZE> {
    /// `tag_list` where it is filled, else `tags`.
    #[must_use]
    #[allow(dead_code, deprecated)]
    fn tag_list(&self) -> ::core::option::Option<&[T]> {
        ::core::option::Option::or(
            ::core::option::Option::as_deref(&self.tag_list),
            ::core::option::Option::as_deref(&self.tags),
        )
    }
    /// Writes `tags` and `tag_list`.
    #[allow(dead_code, deprecated)]
    fn set_tag_list(&mut self, value: impl ::core::convert::Into<Vec<T>>)
    where
        Vec<T>: ::core::clone::Clone,
    {
        let value: Vec<T> = ::core::convert::Into::into(value);
        self.tags = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.tag_list = ::core::option::Option::Some(value);
    }
    /// `type`, which has taken the place of `kind`.
    #[must_use]
    #[allow(dead_code, deprecated)]
    pub(crate) fn r#type(&self) -> &[u8; SIZE] {
        &self.r#type
    }
    /// Writes `kind` and `type`.
    #[allow(dead_code, deprecated)]
    pub(crate) fn set_type(&mut self, value: impl ::core::convert::Into<[u8; SIZE]>) {
        let value: [u8; SIZE] = ::core::convert::Into::into(value);
        self.kind = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.r#type = value;
    }
    /// Whether every new field is filled.
    #[must_use]
    #[allow(dead_code)]
    pub fn is_migrated(&self) -> bool {
        migrations::Dual::is_migrated(self)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<T: Clone, const SIZE: usize> migrations::Dual for Record<T, SIZE> {
    fn is_migrated(&self) -> bool {
        ::core::option::Option::is_some(&self.tag_list)
    }
}
