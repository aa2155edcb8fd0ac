// From:
//
// #[derive(Dual)]
// #[dual(key = (tenant, id))]
// struct Goal {
//     tenant: i64,
//     id: i64,
//     #[dual(new = current_version.title)]
//     title: String,
//     #[dual(new = current_version.notes, absent = default)]
//     notes: Option<String>,
//     current_version: Option<GoalVersion>,
// }

impl Goal {
    /// `current_version.title` where it is filled, else `title`.
    #[must_use]
    #[allow(deprecated)]
    fn title(&self) -> &::core::primitive::str {
        match match &self.current_version {
            ::core::option::Option::Some(record) => {
                ::core::option::Option::Some(&record.title)
            }
            ::core::option::Option::None => ::core::option::Option::None,
        } {
            ::core::option::Option::Some(new) => &**new,
            ::core::option::Option::None => {
                let old = &self.title;
                &**old
            }
        }
    }
    /// The side that `title` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn title_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.title)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        ) {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `title` alone, or `current_version.title` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn title_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::option::Option<&::core::primitive::str> {
        match route.primary {
            ::dualwrite::Side::Old => {
                let old = &self.title;
                ::core::option::Option::Some(&**old)
            }
            ::dualwrite::Side::New => {
                match match &self.current_version {
                    ::core::option::Option::Some(record) => {
                        ::core::option::Option::Some(&record.title)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                } {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(&**new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// Writes `title` and `current_version.title`.
    ///
    /// # Errors
    /// The record to write to is not there; then nothing is written.
    #[allow(deprecated)]
    fn set_title(
        &mut self,
        value: impl ::core::convert::Into<String>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: String = ::core::convert::Into::into(value);
        if ::core::option::Option::is_none(&self.current_version) {
            return ::core::result::Result::Err(
                ::dualwrite::__private::Conversion {
                    record: "Goal",
                    field: "title",
                    to: ::dualwrite::Side::New,
                }
                    .absent(
                        ::dualwrite::__private::shown_key(&(&self.tenant, &self.id)),
                        "current_version",
                    ),
            );
        }
        self.title = ::core::clone::Clone::clone(&value);
        if let ::core::option::Option::Some(record) = &mut self.current_version {
            record.title = value;
        }
        ::core::result::Result::Ok(())
    }
    /// Writes `title`, `current_version.title`, or both, as this route says.
    ///
    /// # Errors
    /// The record to write to is not there; then nothing is written.
    #[allow(deprecated)]
    fn set_title_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<String>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: String = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::New)
            && ::core::option::Option::is_none(&self.current_version)
        {
            return ::core::result::Result::Err(
                ::dualwrite::__private::Conversion {
                    record: "Goal",
                    field: "title",
                    to: ::dualwrite::Side::New,
                }
                    .absent(
                        ::dualwrite::__private::shown_key(&(&self.tenant, &self.id)),
                        "current_version",
                    ),
            );
        }
        if route.stage.writes(::dualwrite::Side::Old) {
            self.title = ::core::clone::Clone::clone(&value);
        }
        if route.stage.writes(::dualwrite::Side::New) {
            if let ::core::option::Option::Some(record) = &mut self.current_version {
                record.title = value;
            }
        }
        ::core::result::Result::Ok(())
    }
    /// `current_version.notes` where it is filled, else `notes`.
    #[must_use]
    #[allow(deprecated)]
    fn notes(&self) -> ::core::option::Option<&::core::primitive::str> {
        match match &self.current_version {
            ::core::option::Option::Some(record) => {
                ::core::option::Option::Some(&record.notes)
            }
            ::core::option::Option::None => ::core::option::Option::None,
        } {
            ::core::option::Option::Some(new) => ::core::option::Option::Some(&**new),
            ::core::option::Option::None => {
                match ::core::option::Option::as_ref(&self.notes) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(&**old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// The side that `notes` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn notes_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.notes)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        )
            || ::core::option::Option::is_none(
                &::core::option::Option::as_ref(&self.notes),
            )
        {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `notes` alone, or `current_version.notes` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn notes_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::option::Option<&::core::primitive::str> {
        match route.primary {
            ::dualwrite::Side::Old => {
                match ::core::option::Option::as_ref(&self.notes) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(&**old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
            ::dualwrite::Side::New => {
                match match &self.current_version {
                    ::core::option::Option::Some(record) => {
                        ::core::option::Option::Some(&record.notes)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                } {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(&**new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// Writes `notes` and `current_version.notes`.
    #[allow(deprecated)]
    fn set_notes(&mut self, value: impl ::core::convert::Into<String>) {
        let value: String = ::core::convert::Into::into(value);
        self.notes = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        ::core::option::Option::get_or_insert_default(&mut self.current_version).notes = value;
    }
    /// Writes `notes`, `current_version.notes`, or both, as this route says.
    #[allow(deprecated)]
    fn set_notes_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<String>,
    ) {
        let value: String = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            self.notes = ::core::option::Option::Some(
                ::core::clone::Clone::clone(&value),
            );
        }
        if route.stage.writes(::dualwrite::Side::New) {
            ::core::option::Option::get_or_insert_default(&mut self.current_version)
                .notes = value;
        }
    }
    /// Whether every new field is filled, or has nothing to take from old.
    #[must_use]
    pub fn is_migrated(&self) -> bool {
        ::dualwrite::Dual::is_migrated(self)
    }
    /// Fills the new fields that are not there from old.
    ///
    /// # Errors
    /// The first field that cannot be filled.
    pub fn migrate(
        &mut self,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        ::dualwrite::Dual::migrate(self)
    }
    /// The fields whose two sides disagree.
    #[must_use]
    pub fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        ::dualwrite::Dual::divergence(self)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Dual for Goal {
    fn is_migrated(&self) -> bool {
        ::core::option::Option::is_some(
            &match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.title)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        )
            && (::core::option::Option::is_some(
                &match &self.current_version {
                    ::core::option::Option::Some(record) => {
                        ::core::option::Option::Some(&record.notes)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                },
            )
                || ::core::option::Option::is_none(
                    &::core::option::Option::as_ref(&self.notes),
                ))
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if ::core::option::Option::is_none(
            &match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.title)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        ) {
            {
                let old = &self.title;
                {
                    let value = ::core::clone::Clone::clone(old);
                    if ::core::option::Option::is_none(&self.current_version) {
                        return ::core::result::Result::Err(
                            ::dualwrite::__private::Conversion {
                                record: "Goal",
                                field: "title",
                                to: ::dualwrite::Side::New,
                            }
                                .absent(
                                    ::dualwrite::__private::shown_key(
                                        &(&self.tenant, &self.id),
                                    ),
                                    "current_version",
                                ),
                        );
                    }
                    if let ::core::option::Option::Some(record) = &mut self
                        .current_version
                    {
                        record.title = value;
                    }
                }
            }
        }
        if ::core::option::Option::is_none(
            &match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.notes)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        ) {
            match ::core::option::Option::as_ref(&self.notes) {
                ::core::option::Option::Some(old) => {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::get_or_insert_default(
                            &mut self.current_version,
                        )
                        .notes = value;
                }
                ::core::option::Option::None => {}
            }
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::Some(&self.title),
            match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.title)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !::dualwrite::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("title");
        }
        if match (
            ::core::option::Option::as_ref(&self.notes),
            match &self.current_version {
                ::core::option::Option::Some(record) => {
                    ::core::option::Option::Some(&record.notes)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            },
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !::dualwrite::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("notes");
        }
        fields
    }
}
