//! Methods of supertraits: what comes out of the macro, and what it refuses.

use super::check_refused as check;

#[test]
fn supertraits() {
    super::snapshots::check(
        "repository/supertraits.rs",
        "
#[repository]
trait Customers<DB: Backend, T: Send>: Send + Reads<T> {
    #[supertrait(Reads<T>)]
    #[read(key = id, shadow = never)]
    async fn find(&self, id: i64) -> Result<T, sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}",
    );
}

#[test]
fn copies_of_a_supertraits_methods_name_it() {
    let find = "#[read(scan)] async fn all(&self) -> Result<(), E>";
    for (above, message) in [
        (
            "#[supertrait]",
            "name the supertrait that declares this method: write `#[supertrait(CustomerReads)]`, without quotes",
        ),
        (
            "#[supertrait(Writes)]",
            "write it as it stands behind `trait Things: …`: `Writes` is no supertrait there",
        ),
        (
            "#[supertrait(Reads)] #[supertrait(Reads)]",
            "a method is declared by one trait: keep one `#[supertrait(…)]`",
        ),
    ] {
        check(&format!("#[repository] trait Things: Reads {{ {above} {find}; }}"), &[message]);
    }
    check(
        &format!(
            "#[repository] trait Things: Reads {{ #[supertrait(Reads)] {find} {{ Ok(()) }} }}"
        ),
        &[
            "write `;` here: this is a copy of a signature, and a default body stays with the supertrait",
        ],
    );
    check(
        "#[repository] trait Things: Reads { #[supertrait(Reads)] async fn all(&self) -> Result<(), E>; }",
        &[
            "say how `all` is routed: `#[read(key = …)]`, `#[read(scan)]`, `#[write(key = …)]`, or `#[primary]` where it does \
             neither",
        ],
    );
}

#[test]
fn wrappers_that_are_none_have_no_supertraits_methods() {
    check(
        "#[repository(unit_of_work)] trait Things: Reads {
            #[supertrait(Reads)] #[read(scan)] async fn all(&mut self) -> Result<(), E>;
        }",
        &[
            "declare this method in the trait itself: a unit of work has no wrapper that could have a supertrait's methods",
        ],
    );
    check(
        "#[repository(transaction = Db)] trait Things: Reads {
            #[supertrait(Reads)] #[read(scan)] async fn all(&self) -> Result<(), E>;
            #[write(key = id)] async fn save(&self, id: i64) -> Result<(), E>;
        }",
        &[
            "implement the supertrait for the wrapper, by calls of a repository of its own: a trait with `transaction = …` has \
             no wrapper that could have a supertrait's methods",
        ],
    );
}
