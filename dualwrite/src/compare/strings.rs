//! Strings of all kinds, each with each.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::rc::Rc;
use std::sync::Arc;

use super::leaves::shown_by_debug;
use super::{Compare, Comparison};

macro_rules! strings {
    ($([$($lifetimes:lifetime),*] $old:ty => $new:ty;)*) => {$(
        impl<$($lifetimes),*> Compare<$new> for $old {
            #[inline]
            fn compare(&self, new: &$new, at: &mut Comparison<'_>) {
                let (old, new): (&str, &str) = (self, new);
                if old != new {
                    at.differ(&old, &new);
                }
            }

            shown_by_debug!($new);
        }
    )*};
}

// Borrowed and shared strings of one kind are seen through like everything of that kind.
strings! {
    [] str => str;
    [] String => String;

    ['n] String => &'n str;
    ['n] String => Cow<'n, str>;
    [] String => Box<str>;
    [] String => Rc<str>;
    [] String => Arc<str>;

    ['o] &'o str => String;
    ['o, 'n] &'o str => Cow<'n, str>;
    ['o] &'o str => Box<str>;
    ['o] &'o str => Rc<str>;
    ['o] &'o str => Arc<str>;

    ['o] Cow<'o, str> => String;
    ['o, 'n] Cow<'o, str> => &'n str;
    ['o] Cow<'o, str> => Box<str>;
    ['o] Cow<'o, str> => Rc<str>;
    ['o] Cow<'o, str> => Arc<str>;

    [] Box<str> => String;
    ['n] Box<str> => &'n str;
    ['n] Box<str> => Cow<'n, str>;
    [] Box<str> => Rc<str>;
    [] Box<str> => Arc<str>;

    [] Rc<str> => String;
    ['n] Rc<str> => &'n str;
    ['n] Rc<str> => Cow<'n, str>;
    [] Rc<str> => Box<str>;
    [] Rc<str> => Arc<str>;

    [] Arc<str> => String;
    ['n] Arc<str> => &'n str;
    ['n] Arc<str> => Cow<'n, str>;
    [] Arc<str> => Box<str>;
    [] Arc<str> => Rc<str>;
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    fn differ<O: Compare<N>, N>(old: O, new: N) -> bool {
        Differences::exist_between(&old, &new)
    }

    #[test]
    fn a_string_is_its_text() {
        let (owned, borrowed) = (String::from("a"), "a");
        let (cow, boxed) = (Cow::Borrowed(borrowed), Box::<str>::from(borrowed));
        let (rc, arc) = (Rc::<str>::from(borrowed), Arc::<str>::from(borrowed));
        assert!(!differ(owned.clone(), borrowed) && !differ(borrowed, owned.clone()));
        assert!(!differ(cow.clone(), boxed.clone()) && !differ(boxed.clone(), cow.clone()));
        assert!(!differ(rc.clone(), arc.clone()) && !differ(arc.clone(), rc.clone()));
        assert!(!differ(arc.clone(), arc) && !differ(rc.clone(), rc));
        assert!(!differ(boxed.clone(), boxed) && !differ(cow.clone(), cow));
        assert!(differ(owned.clone(), "b") && differ(owned, Cow::Borrowed("")));
    }

    #[test]
    fn text_is_quoted_where_it_is_shown() {
        let found = Differences::collect(|at| "a\n".compare("b", &mut at.here().reveal()));
        assert_eq!(found.to_string(), r#""a\n" in old, "b" in new"#);
    }
}
