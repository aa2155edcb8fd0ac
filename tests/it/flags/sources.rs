//! One suite for every source of flags: what an operator says there happens, and what is broken there
//! changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dualwrite::{
    BoxError, RuntimeBuilder, Stage,
    flags::{DesiredState, FlagSource},
    runtime::{EnvFlags, FileFlags, OpenFeatureFlags},
};
use open_feature::provider::{FeatureProvider, ProviderMetadata, ResolutionDetails};
use open_feature::{
    EvaluationContext, EvaluationError, EvaluationErrorCode, EvaluationResult, OpenFeature,
    StructValue, Value,
};

use super::{Environment, is_at, waits_for};
use crate::support::crew::Crew;
use crate::support::db::{Scratch, SqliteDb, TestDb};

/// Where an operator writes flags, for the migration `notes`.
trait Place {
    fn connect(&self, builder: RuntimeBuilder<sqlx::Sqlite>) -> RuntimeBuilder<sqlx::Sqlite>;
    fn name(&self) -> &'static str;
    /// Says this; nothing where it is empty.
    async fn say(&self, text: &str);
}

async fn suite(place: impl Place) {
    let db: Scratch<SqliteDb> = SqliteDb::fresh(place.name()).await.unwrap();
    let crew = Crew::new(db, 3).await;
    place.say("").await;
    let member = crew.joins_as(place.connect(crew.builder())).await;
    let here = &member.migration;
    let status = here.status().await.unwrap();
    assert_eq!((status.flags.wanted, status.flags.problems.len()), (None, 0));

    // Moves are made one after the other, up to the gate, and past it when it opens.
    place.say("live 2.5%").await;
    let blocked = "run the backfill of generation 1";
    let status = crew.until(here, "the gate", |now| waits_for(now, blocked)).await;
    assert!(is_at(&status, "shadow, epoch 3"), "{}", status.position);
    assert_eq!(status.flags.wanted.as_deref(), Some("live 2.5 %"));
    assert_eq!(status.flags.source.as_deref(), Some(place.name()));
    here.backfill().run().await.unwrap();
    assert!(here.verify().run().await.unwrap().is_clean());
    let status = crew.until(here, "2.5 %", |now| is_at(now, "live, 2.5 % as ramp_down")).await;
    assert_eq!(status.flags.waiting, None);
    assert_eq!(status.events.len(), 4);
    let reason = format!("{} wants live 2.5 %", place.name());
    assert!(status.events.iter().all(|event| event.reason == reason), "{:?}", status.events);

    // What cannot be understood is told, and changes nothing.
    place.say("sideways").await;
    let status = crew.until(here, "a problem", |now| !now.flags.problems.is_empty()).await;
    let problem = &status.flags.problems[0];
    assert!(problem.contains("sideways") && problem.contains("is no stage"), "{problem}");
    assert_eq!(status.flags.wanted.as_deref(), Some("live 2.5 %"));
    assert!(is_at(&status, "live, 2.5 % as ramp_down"), "{}", status.position);

    // Back is followed back.
    place.say("shadow").await;
    let status = crew.until(here, "back", |now| is_at(now, "shadow, epoch")).await;
    assert!(status.flags.problems.is_empty());
    place.say("live").await;
    crew.until(here, "live", |now| is_at(now, "live, epoch")).await;

    // It kills, and lets go without going forward by itself where it says nothing more.
    place.say("kill").await;
    let status = crew.until(here, "killed", |now| is_at(now, "dual_write, epoch")).await;
    let switch = format!("of the flags in {}", place.name());
    assert_eq!(status.flags.killed_by.as_deref(), Some(&*switch));
    let refused = here.advance(Stage::Shadow).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("the kill switch {switch} is set")), "{refused}");
    place.say("").await;
    let free = |now: &dualwrite::Status| now.instances.iter().all(|one| one.killed_by.is_none());
    crew.until(here, "free", free).await;
    here.advance(Stage::Shadow).await.unwrap();
}

struct Variables(Environment);

impl Place for Variables {
    fn connect(&self, builder: RuntimeBuilder<sqlx::Sqlite>) -> RuntimeBuilder<sqlx::Sqlite> {
        builder.flags(EnvFlags::with(self.0.lookup()))
    }

    fn name(&self) -> &'static str {
        "environment"
    }

    async fn say(&self, text: &str) {
        self.0.want(text);
    }
}

#[tokio::test]
async fn environment() {
    suite(Variables(Environment::default())).await;
}

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("flags.toml")
    }
}

impl Place for File {
    fn connect(&self, builder: RuntimeBuilder<sqlx::Sqlite>) -> RuntimeBuilder<sqlx::Sqlite> {
        builder.flags(FileFlags::new(self.path()))
    }

    fn name(&self) -> &'static str {
        "file"
    }

    async fn say(&self, text: &str) {
        let text = match text.split_once(' ') {
            _ if text.is_empty() => "other = \"shadow\"".to_owned(),
            _ if text == "kill" => "[notes]\nkill = true".to_owned(),
            Some((stage, ramp)) => format!("[notes]\nstage = \"{stage}\"\nramp = \"{ramp}\""),
            None => format!("notes = \"{text}\""),
        };
        std::fs::write(self.folder.path().join("next"), text).unwrap();
        std::fs::rename(self.folder.path().join("next"), self.path()).unwrap();
    }
}

#[tokio::test]
async fn file() {
    suite(File { folder: tempfile::tempdir().unwrap() }).await;
}

#[tokio::test]
async fn a_file_that_goes_away_still_says_what_it_said() {
    let db: Scratch<SqliteDb> = SqliteDb::fresh("a_file_that_goes_away").await.unwrap();
    let crew = Crew::new(db, 0).await;
    let file = File { folder: tempfile::tempdir().unwrap() };
    file.say("dual_write").await;
    let member = crew.joins_as(file.connect(crew.builder())).await;
    crew.until(&member.migration, "there", |now| is_at(now, "dual_write")).await;
    std::fs::remove_file(file.path()).unwrap();
    let gone = |now: &dualwrite::Status| !now.flags.problems.is_empty();
    let status = crew.until(&member.migration, "a problem", gone).await;
    assert_eq!(status.flags.wanted.as_deref(), Some("dual_write"));
    file.say("shadow").await;
    crew.until(&member.migration, "shadow", |now| is_at(now, "shadow")).await;
    // Never heard of: nothing is wanted, and somebody is told.
    let empty = File { folder: tempfile::tempdir().unwrap() };
    let other = crew.joins_as(empty.connect(crew.builder())).await;
    let flags = other.migration.status().await.unwrap().flags;
    assert_eq!((flags.wanted, flags.problems.len()), (None, 1));
    assert!(flags.problems[0].contains("flags.toml"), "{:?}", flags.problems);
}

/// A provider with flags in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashMap<String, Value>>>);

impl Memory {
    fn resolve<T>(
        &self,
        key: &str,
        context: &EvaluationContext,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        assert_eq!(context.targeting_key.as_deref(), Some("notes"));
        let flags = self.0.lock().unwrap();
        let error = |code| EvaluationError { code, message: None };
        let value = flags.get(key).ok_or_else(|| error(EvaluationErrorCode::FlagNotFound))?;
        let value = read(value).ok_or_else(|| error(EvaluationErrorCode::TypeMismatch))?;
        Ok(ResolutionDetails::new(value))
    }
}

struct Provider(Memory, ProviderMetadata);

#[open_feature::async_trait]
impl FeatureProvider for Provider {
    fn metadata(&self) -> &ProviderMetadata {
        &self.1
    }

    async fn resolve_bool_value(
        &self,
        key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        self.0.resolve(key, context, Value::as_bool)
    }

    async fn resolve_int_value(
        &self,
        key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.0.resolve(key, context, Value::as_i64)
    }

    async fn resolve_float_value(
        &self,
        key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.0.resolve(key, context, Value::as_f64)
    }

    async fn resolve_string_value(
        &self,
        key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        self.0.resolve(key, context, |value| value.as_str().map(str::to_owned))
    }

    async fn resolve_struct_value(
        &self,
        key: &str,
        context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.0.resolve(key, context, |value| value.as_struct().cloned())
    }
}

struct Provided {
    flags: Memory,
    source: OpenFeatureFlags,
    structured: bool,
}

impl Provided {
    async fn new(name: &str, structured: bool) -> Self {
        let flags = Memory::default();
        let provider = Provider(flags.clone(), ProviderMetadata::new(name));
        OpenFeature::singleton_mut().await.set_named_provider(name, provider).await;
        let client = OpenFeature::singleton().await.create_named_client(name);
        Self { flags, source: OpenFeatureFlags::new(client), structured }
    }
}

impl Place for Provided {
    fn connect(&self, builder: RuntimeBuilder<sqlx::Sqlite>) -> RuntimeBuilder<sqlx::Sqlite> {
        builder.flags(self.source.clone())
    }

    fn name(&self) -> &'static str {
        "openfeature"
    }

    async fn say(&self, text: &str) {
        let (stage, ramp) = text.split_once(' ').unwrap_or((text, "0"));
        let fields = match text {
            "kill" => StructValue::default().with_field("kill", Value::Bool(true)),
            _ => StructValue::default()
                .with_field("stage", Value::String(stage.to_owned()))
                .with_field("ramp", Value::Float(ramp.trim_end_matches('%').parse().unwrap())),
        };
        let value = match self.structured {
            true => Value::Struct(fields),
            false => Value::String(text.to_owned()),
        };
        let mut flags = self.flags.0.lock().unwrap();
        flags.remove("dualwrite.notes");
        if !text.is_empty() {
            flags.insert("dualwrite.notes".to_owned(), value);
        }
    }
}

#[tokio::test]
async fn open_feature() {
    suite(Provided::new("texts", false).await).await;
}

#[tokio::test]
async fn structured_open_feature() {
    suite(Provided::new("structures", true).await).await;
}

/// Sources that do what they must not.
struct Ill(&'static str);

impl FlagSource for Ill {
    fn name(&self) -> &str {
        self.0
    }

    async fn desired(&self, _: &str) -> Result<Option<DesiredState>, BoxError> {
        match self.0 {
            "panics" => panic!("a bug in a source"),
            "hangs" => std::future::pending().await,
            _ => Err("it is down".into()),
        }
    }
}

#[tokio::test]
async fn ill_sources_hurt_neither_the_others_nor_the_runtime() {
    let db: Scratch<SqliteDb> = SqliteDb::fresh("ill_sources").await.unwrap();
    let crew = Crew::new(db, 0).await;
    let environment = Environment::default();
    environment.want("dual_write");
    let builder = crew.builder().flags(Ill("panics")).flags(Ill("hangs")).flags(Ill("fails"));
    let member = crew.joins_as(builder.flags(EnvFlags::with(environment.lookup()))).await;
    let status = crew.until(&member.migration, "there", |now| is_at(now, "dual_write")).await;
    assert_eq!(
        status.flags.problems,
        ["panics: it panicked", "hangs: it did not answer within 1s", "fails: it is down"]
    );
    assert_eq!(status.flags.source.as_deref(), Some("environment"));
}
