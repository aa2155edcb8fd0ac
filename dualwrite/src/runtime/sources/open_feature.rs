//! [`OpenFeatureFlags`]: flags from any OpenFeature provider.

use std::fmt;
use std::sync::Arc;

use open_feature::{
    Client, EvaluationContext, EvaluationError, EvaluationErrorCode, StructValue, Value,
};

use crate::error::BoxError;
use crate::flags::desired::DesiredState;
use crate::flags::source::FlagSource;

type FlagKey = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A flag for each migration, by default `dualwrite.` and its name, that is a text (`shadow 5%`, `kill`, or
/// nothing) or a structure of `stage`, `ramp` and `kill`. The targeting key is the migration's name: it is
/// evaluated once a poll and process, never for a call. See the [guide](crate::guide::flags) for why,
/// and for what this source can promise.
///
/// ```
/// # async fn example() {
/// use dualwrite::runtime::OpenFeatureFlags;
/// let client = open_feature::OpenFeature::singleton().await.create_client();
/// let flags = OpenFeatureFlags::new(client).keyed(|migration| format!("migrations/{migration}"));
/// # }
/// ```
#[derive(Clone)]
pub struct OpenFeatureFlags {
    client: Arc<Client>,
    key: FlagKey,
}

impl OpenFeatureFlags {
    /// Asks this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let key = |migration: &str| format!("dualwrite.{migration}");
        Self { client: Arc::new(client), key: Arc::new(key) }
    }

    /// Names the flag of a migration otherwise.
    #[must_use]
    pub fn keyed(mut self, key: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.key = Arc::new(key);
        self
    }
}

impl fmt::Debug for OpenFeatureFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFeatureFlags").finish_non_exhaustive()
    }
}

impl FlagSource for OpenFeatureFlags {
    fn name(&self) -> &str {
        "openfeature"
    }

    async fn desired(&self, migration: &str) -> Result<Option<DesiredState>, BoxError> {
        let key = (self.key)(migration);
        let context = EvaluationContext::default().with_targeting_key(migration);
        let text = self.client.get_string_value(&key, Some(&context), None).await;
        let failed = |error: EvaluationError| -> BoxError {
            let message = error.message.unwrap_or_default();
            format!("flag `{key}`: {} {message}", error.code).trim_end().into()
        };
        match text {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => {
                text.parse().map(Some).map_err(|error| format!("flag `{key}`: {error}").into())
            }
            Err(error) if error.code == EvaluationErrorCode::FlagNotFound => Ok(None),
            Err(error) if error.code == EvaluationErrorCode::TypeMismatch => {
                let fields: Fields = self
                    .client
                    .get_struct_value(&key, Some(&context), None)
                    .await
                    .map_err(failed)?;
                fields.wanted().map(Some).map_err(|error| format!("flag `{key}`: {error}").into())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

struct Fields(StructValue);

impl From<StructValue> for Fields {
    fn from(value: StructValue) -> Self {
        Self(value)
    }
}

impl Fields {
    fn wanted(&self) -> Result<DesiredState, BoxError> {
        let fields = &self.0.fields;
        let unknown = fields.keys().find(|key| !["stage", "ramp", "kill"].contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(format!("unknown key `{key}`; known are stage, ramp, kill").into());
        }
        let ramp = match fields.get("ramp") {
            None => None,
            Some(Value::Int(percent)) => Some(percent.to_string()),
            Some(Value::Float(percent)) => Some(percent.to_string()),
            Some(Value::String(percent)) => Some(percent.clone()),
            Some(_) => return Err("`ramp` is a number of percent, or a text".into()),
        };
        let stage = match fields.get("stage") {
            None => None,
            Some(value) => Some(value.as_str().ok_or("`stage` is a text")?),
        };
        let kill = match fields.get("kill") {
            None => None,
            Some(value) => Some(value.as_bool().ok_or("`kill` is true or false")?),
        };
        Ok(DesiredState::of_fields(stage, ramp.as_deref(), kill)?)
    }
}
