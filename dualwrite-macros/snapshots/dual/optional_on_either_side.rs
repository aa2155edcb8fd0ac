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

impl<T: Clone, const SIZE: usize> Record<T, SIZE>
where
    Vec<T>: ::core::clone::Clone + ::core::cmp::PartialEq,
{
    /// `tags` alone, or `tag_list` alone, as the side says: NULL is a value, and does not tell that the new side is not copied.
    #[must_use]
    #[allow(deprecated)]
    fn tag_list(&self, side: migrations::Side) -> ::core::option::Option<&[T]> {
        match side {
            migrations::Side::Old => {
                match ::core::option::Option::as_ref(&self.tags) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(&**old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
            migrations::Side::New => {
                match ::core::option::Option::as_ref(&self.tag_list) {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(&**new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// `tags` alone, or `tag_list` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn tag_list_by(&self, route: &migrations::Route) -> ::core::option::Option<&[T]> {
        match route.primary {
            migrations::Side::Old => {
                match ::core::option::Option::as_ref(&self.tags) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(&**old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
            migrations::Side::New => {
                match ::core::option::Option::as_ref(&self.tag_list) {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(&**new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// Writes `tags` and `tag_list`.
    #[allow(deprecated)]
    fn set_tag_list(&mut self, value: impl ::core::convert::Into<Vec<T>>) {
        let value: Vec<T> = ::core::convert::Into::into(value);
        self.tags = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.tag_list = ::core::option::Option::Some(value);
    }
    /// Writes `tags`, `tag_list`, or both, as this route says.
    #[allow(deprecated)]
    fn set_tag_list_by(
        &mut self,
        route: &migrations::Route,
        value: impl ::core::convert::Into<Vec<T>>,
    ) {
        let value: Vec<T> = ::core::convert::Into::into(value);
        if route.stage.writes(migrations::Side::Old) {
            self.tags = ::core::option::Option::Some(
                ::core::clone::Clone::clone(&value),
            );
        }
        if route.stage.writes(migrations::Side::New) {
            self.tag_list = ::core::option::Option::Some(value);
        }
    }
    /// Writes NULL to `tags` and `tag_list`.
    #[allow(deprecated)]
    fn clear_tag_list(&mut self) {
        self.tags = ::core::option::Option::None;
        self.tag_list = ::core::option::Option::None;
    }
    /// Writes NULL to `tags`, `tag_list`, or both, as this route says.
    #[allow(deprecated)]
    fn clear_tag_list_by(&mut self, route: &migrations::Route) {
        if route.stage.writes(migrations::Side::Old) {
            self.tags = ::core::option::Option::None;
        }
        if route.stage.writes(migrations::Side::New) {
            self.tag_list = ::core::option::Option::None;
        }
    }
    /// `type`, which has taken the place of `kind`.
    #[must_use]
    #[allow(deprecated)]
    pub(crate) fn r#type(&self) -> &[u8; SIZE] {
        {
            let new = &self.r#type;
            new
        }
    }
    /// The side that `type` answers from.
    #[must_use]
    #[allow(deprecated)]
    pub(crate) fn type_source(&self) -> migrations::Side {
        migrations::Side::New
    }
    /// `kind` alone, or `type` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    pub(crate) fn type_by(
        &self,
        route: &migrations::Route,
    ) -> ::core::option::Option<&[u8; SIZE]> {
        match route.primary {
            migrations::Side::Old => {
                match ::core::option::Option::as_ref(&self.kind) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
            migrations::Side::New => {
                let new = &self.r#type;
                ::core::option::Option::Some(new)
            }
        }
    }
    /// Writes `kind` and `type`.
    #[allow(deprecated)]
    pub(crate) fn set_type(&mut self, value: impl ::core::convert::Into<[u8; SIZE]>) {
        let value: [u8; SIZE] = ::core::convert::Into::into(value);
        self.kind = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.r#type = value;
    }
    /// Writes `kind`, `type`, or both, as this route says.
    #[allow(deprecated)]
    pub(crate) fn set_type_by(
        &mut self,
        route: &migrations::Route,
        value: impl ::core::convert::Into<[u8; SIZE]>,
    ) {
        let value: [u8; SIZE] = ::core::convert::Into::into(value);
        if route.stage.writes(migrations::Side::Old) {
            self.kind = ::core::option::Option::Some(
                ::core::clone::Clone::clone(&value),
            );
        }
        if route.stage.writes(migrations::Side::New) {
            self.r#type = value;
        }
    }
    /// Whether every new field is filled, or has nothing to take from old.
    #[must_use]
    pub fn is_migrated(&self) -> bool {
        migrations::Dual::is_migrated(self)
    }
    /// Fills the new fields that are not there from old.
    ///
    /// # Errors
    /// The first field that cannot be filled.
    pub fn migrate(
        &mut self,
    ) -> ::core::result::Result<(), migrations::ConversionError> {
        migrations::Dual::migrate(self)
    }
    /// The fields whose two sides disagree.
    #[must_use]
    pub fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        migrations::Dual::divergence(self)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<T: Clone, const SIZE: usize> migrations::Dual for Record<T, SIZE>
where
    Vec<T>: ::core::clone::Clone + ::core::cmp::PartialEq,
{
    fn is_migrated(&self) -> bool {
        true
    }
    fn migrate(&mut self) -> ::core::result::Result<(), migrations::ConversionError> {
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::as_ref(&self.tags),
            ::core::option::Option::as_ref(&self.tag_list),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !migrations::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (::core::option::Option::Some(_), ::core::option::Option::None) => true,
            (::core::option::Option::None, ::core::option::Option::None) => false,
        } {
            fields.push("tag_list");
        }
        if match (
            ::core::option::Option::as_ref(&self.kind),
            ::core::option::Option::Some(&self.r#type),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !migrations::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("type");
        }
        fields
    }
}
