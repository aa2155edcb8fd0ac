struct Note(#[expect(dead_code)] String);

#[dualwrite::repository]
trait Customers {
    #[write(key = id)]
    async fn save(
        &self,
        tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>,
        id: i64,
        note: Note,
    ) -> Result<(), sqlx::Error>;
}

fn main() {}
