//! What has been proven valid. A reader learns from these types what the macro supports; `expand`
//! turns them into tokens and cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Expr, ExprPath, Generics, ItemTrait, Path, Signature, Token, Type, WherePredicate,
};

use crate::paths::Root;

/// A repository trait for which a wrapper can be written.
pub(super) struct Repository {
    pub(super) root: Root,
    /// The user's trait without our attributes, for its name, visibility and generics.
    pub(super) item: ItemTrait,
    /// `DualCustomers`.
    pub(super) wrapper: Ident,
    /// The trait that the user's is a copy of: what is implemented then.
    pub(super) remote: Option<Path>,
    /// The type parameters that stand for the two sides.
    pub(super) sides: Sides<Ident>,
    /// The type parameter that stands for what writes both at once.
    pub(super) both: Ident,
    /// `: ?Sized` for all three, where there can be trait objects.
    pub(super) unsized_: Option<TokenStream>,
    /// `#[async_trait]` below our attribute: it is repeated on the wrapper's `impl`.
    pub(super) async_trait: Option<Attribute>,
    /// `#[cfg(…)]` of the trait: without it, there is no wrapper.
    pub(super) cfg: Vec<Attribute>,
    /// The generics of the trait, where `Self::Error` has become `<O as Trait>::Error`.
    pub(super) generics: Generics,
    /// The trait's own supertraits and where clauses on the wrapper, `Self` replaced in the same way.
    pub(super) predicates: Vec<WherePredicate>,
    /// Associated types: the old side's, which the new side must share.
    pub(super) associated: Vec<Ident>,
    /// Those that are errors and nothing else: the new side's need only become the old side's.
    pub(super) own_errors: Vec<Ident>,
    /// Associated constants: the old side's, which the new side must share.
    pub(super) constants: Vec<Constant>,
    /// Error types that depend on the trait's parameters, which must be made from our error.
    pub(super) errors: Vec<Type>,
    pub(super) methods: Vec<Method>,
    /// What is written for a trait whose writes take no transaction.
    pub(super) fenced: Option<Fenced>,
    /// What is written for a trait whose implementers borrow a connection.
    pub(super) unit: Option<Unit>,
}

/// A trait of `&mut self` methods. The sides are built for each call, over the connection of the transaction.
pub(super) struct Unit {
    /// What implements the trait, for one transaction.
    pub(super) name: Ident,
    /// The type parameter that stands for the kind of database.
    pub(super) database: Ident,
}

/// A trait whose writes take no transaction. The wrapper is that of its form whose writes take one.
pub(super) struct Fenced {
    /// The trait as typed, without our attributes.
    pub(super) item: ItemTrait,
    /// Its form whose writes take a transaction: this is what the sides and the wrapper implement.
    pub(super) in_form: ItemTrait,
    /// What implements the trait as typed.
    pub(super) name: Ident,
    /// The kind of database.
    pub(super) database: Type,
    /// The trait that the typed one is a copy of.
    pub(super) remote: Option<Path>,
}

/// One of the two stores.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Old,
    New,
}

/// Something for each side.
pub(super) struct Sides<T> {
    pub(super) old: T,
    pub(super) new: T,
}

impl<T> Sides<T> {
    pub(super) fn of(&self, side: Side) -> &T {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

/// A method that is routed.
pub(super) struct Method {
    /// The supertrait that declares it, where this trait does not.
    pub(super) of: Option<Path>,
    /// As in the desugared trait.
    pub(super) signature: Signature,
    /// The user's `self`, whose span decides what it means.
    pub(super) this: Token![self],
    pub(super) arguments: Vec<Argument>,
    /// `#[cfg(…)]`: the method may be absent.
    pub(super) cfg: Vec<Attribute>,
    /// Documentation and lint levels, repeated on the wrapper's method.
    pub(super) attributes: Vec<Attribute>,
    /// Where to say what the compiler finds wrong with the answer's type. One place for all of it:
    /// the compiler then says each thing once.
    pub(super) answer: Span,
    pub(super) form: Form,
    /// Its error is an associated type that each side chooses for itself: new's becomes old's.
    pub(super) converts: bool,
    /// What the user says of an error of ours.
    pub(super) failing: Failing,
    pub(super) route: Route,
}

/// What becomes of an error of ours.
pub(super) enum Failing {
    /// The error of the method is made from it.
    From,
    /// This function makes the method's error of it.
    By(ExprPath),
    /// The method has no error, and answers this.
    Answer(Expr),
}

/// How a method hands out its answer.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// `-> impl Future`, also where `async fn` was typed.
    Future,
    /// `-> Pin<Box<dyn Future>>`, as `#[async_trait]` above our attribute makes it of `async fn`.
    Boxed,
    /// `async fn`, of which `#[async_trait]` will make a boxed future.
    Async,
    /// `-> impl Stream`, or a stream in a box.
    Stream { is_boxed: bool },
    /// Without waiting.
    Sync,
}

/// An associated constant.
pub(super) struct Constant {
    pub(super) name: Ident,
    pub(super) ty: Type,
    pub(super) cfg: Vec<Attribute>,
    pub(super) equality: Equality,
}

/// How the values of a constant on both sides can be compared by the compiler.
#[derive(Clone, Copy)]
pub(super) enum Equality {
    /// By `==`.
    Operator,
    /// As `&str`.
    Text,
    /// Not at all.
    Unknown,
}

/// How calls of a method find their side.
#[expect(clippy::large_enum_variant, reason = "there is one a method")]
pub(super) enum Route {
    Read(Read),
    Write(Write),
    /// Passed to the side that answers.
    Primary,
}

/// A call that changes nothing.
pub(super) struct Read {
    /// The record that is read; none for scans.
    pub(super) key: Option<Expr>,
    /// What the ramp is followed by, where it is not the key.
    pub(super) ramp: Option<Expr>,
    pub(super) kind: ReadKind,
}

/// What a read does besides answering.
pub(super) enum ReadKind {
    /// Nothing: never compared, or inside the caller's transaction.
    Plain { tx: Option<Ident> },
    /// The other side is asked too, after the call, and the answers are compared.
    Compared(Comparing),
    /// A record missing in new is copied; compared too, unless nothing is said how.
    Lazy(Option<Comparing>),
    /// A record missing in new is copied in the caller's transaction.
    LazyIn { tx: Ident },
    /// In the transaction of a unit of work, and compared outside it.
    Within { tx: Ident, lazy: bool, comparing: Option<Comparing> },
}

/// How the answers of a read are compared, where the method says so itself.
#[derive(Default)]
pub(super) struct Comparing {
    /// A function that decides; else fields or equality do.
    pub(super) by: Option<ExprPath>,
    /// The share of calls that is compared, in basis points.
    pub(super) sample: Option<u16>,
    /// The limit on the shadow read.
    pub(super) timeout_ms: Option<u64>,
}

/// A call that changes records, in the caller's transaction.
pub(super) struct Write {
    pub(super) keys: Keys,
    pub(super) tx: Ident,
    /// What a failing mirror does to the caller, where the method says so itself.
    pub(super) on_mirror_error: Option<MirrorPolicy>,
    pub(super) limits: WriteLimits,
    /// What happens where the sides answer differently, where the method says so itself.
    pub(super) on_difference: Option<AnswerPolicy>,
}

/// The limits on the two sides of a write, where the method says so itself.
#[derive(Clone, Copy, Default)]
pub(super) struct WriteLimits {
    pub(super) mirror_ms: Option<u64>,
    pub(super) primary_ms: Option<u64>,
}

/// `dualwrite::AnswerPolicy`.
#[derive(Clone, Copy)]
pub(super) enum AnswerPolicy {
    MarkDirty,
    Error,
    Ignore,
}

impl AnswerPolicy {
    /// The name of the variant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MarkDirty => "MarkDirty",
            Self::Error => "Error",
            Self::Ignore => "Ignore",
        }
    }
}

/// Which records a write changes.
pub(super) enum Keys {
    /// One.
    One(Expr),
    /// All that this expression lists.
    Many(Expr),
    /// Those that a filter of the database finds.
    Filter,
    /// Any, but no column that is migrated.
    Once,
    /// One whose key is made by the side that is written first.
    Made(Made),
}

/// A key that the first side makes.
pub(super) struct Made {
    /// A function from the answer to the key.
    pub(super) key_from: Expr,
    pub(super) then: Then,
}

/// How the other side gets the key.
pub(super) enum Then {
    /// By another method of the trait, with these arguments.
    Method(Ident, Vec<Handed>),
    /// In this argument.
    Argument(Ident),
}

/// An argument of that method.
#[derive(Clone)]
pub(super) enum Handed {
    /// The argument of this name.
    Same(Ident),
    /// The transaction.
    Tx,
    /// The key.
    Key,
    /// `&key`.
    KeyReference,
}

/// `dualwrite::MirrorPolicy`.
#[derive(Clone, Copy)]
pub(super) enum MirrorPolicy {
    Abort,
    MarkDirty,
}

impl MirrorPolicy {
    /// The name of the variant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Abort => "Abort",
            Self::MarkDirty => "MarkDirty",
        }
    }
}

/// An argument after `&self`.
pub(super) struct Argument {
    pub(super) name: Ident,
    pub(super) ty: Type,
    pub(super) passing: Passing,
    /// It is a transaction by its name.
    pub(super) is_named_tx: bool,
}

/// How an argument is handed to the sides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// `&mut Tx<'_, DB>`.
    Tx,
    /// `T`.
    Value,
    /// `&T`.
    Shared,
    /// `&mut T`.
    Exclusive,
}

impl Read {
    /// How it is planned in a transaction, or outside one.
    pub(super) fn plan(&self) -> &'static str {
        match (&self.key, self.tx(), &self.ramp) {
            (Some(_), Some(_), _) if self.is_within() => "read_within",
            (None, Some(_), _) if self.is_within() => "scan_within",
            (Some(_), None, None) => "read",
            (Some(_), None, Some(_)) => "read_by",
            (Some(_), Some(_), None) => "read_in",
            (Some(_), Some(_), Some(_)) => "read_in_by",
            (None, None, _) => "scan",
            (None, Some(_), _) => "scan_in",
        }
    }

    /// The caller's transaction, if the read takes part in one.
    pub(super) fn tx(&self) -> Option<&Ident> {
        match &self.kind {
            ReadKind::Plain { tx } => tx.as_ref(),
            ReadKind::LazyIn { tx } | ReadKind::Within { tx, .. } => Some(tx),
            ReadKind::Compared(_) | ReadKind::Lazy(_) => None,
        }
    }

    pub(super) fn is_lazy(&self) -> bool {
        let is_lazy_within = matches!(self.kind, ReadKind::Within { lazy: true, .. });
        is_lazy_within || matches!(self.kind, ReadKind::Lazy(_) | ReadKind::LazyIn { .. })
    }

    /// Whether it is part of a unit of work.
    pub(super) fn is_within(&self) -> bool {
        matches!(self.kind, ReadKind::Within { .. })
    }

    /// How it is compared, if it is.
    pub(super) fn comparing(&self) -> Option<&Comparing> {
        match &self.kind {
            ReadKind::Compared(comparing) => Some(comparing),
            ReadKind::Lazy(comparing) | ReadKind::Within { comparing, .. } => comparing.as_ref(),
            ReadKind::Plain { .. } | ReadKind::LazyIn { .. } => None,
        }
    }
}

impl Route {
    /// The name of the `dualwrite::Operation`, if it is one.
    pub(super) fn operation(&self) -> Option<&'static str> {
        match self {
            Self::Read(Read { key: Some(_), .. }) => Some("Read"),
            Self::Read(Read { key: None, .. }) => Some("Scan"),
            Self::Write(_) => Some("Write"),
            Self::Primary => None,
        }
    }
}

impl Repository {
    /// Whether a method writes.
    pub(super) fn writes(&self) -> bool {
        self.methods.iter().any(|method| matches!(method.route, Route::Write(_)))
    }

    /// The trait as typed.
    pub(super) fn typed(&self) -> &ItemTrait {
        self.fenced.as_ref().map_or(&self.item, |fenced| &fenced.item)
    }

    /// `Customers`, or the path of the trait that it is a copy of.
    pub(super) fn trait_name(&self) -> TokenStream {
        match &self.remote {
            Some(path) => path.to_token_stream(),
            None => self.item.ident.to_token_stream(),
        }
    }

    /// `Customers<T>`, as it is named in the `impl`.
    pub(super) fn trait_path(&self) -> TokenStream {
        let name = self.trait_name();
        let (_, arguments, _) = self.generics.split_for_impl();
        quote!(#name #arguments)
    }
}
