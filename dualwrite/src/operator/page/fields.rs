//! The fields of a command, from a form, a form with a file, or JSON.

use std::collections::HashMap;

use axum::extract::multipart::MultipartError;
use axum::extract::{Form, FromRequest, Json, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::operator::page::Failed;

/// The fields, by name. A file stands for the text of its field.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    pub(super) fn of(fields: HashMap<String, String>) -> Self {
        Self(fields)
    }

    /// The same, with this value.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut fields = self.0.clone();
        fields.insert(name.to_owned(), value.to_owned());
        Self(fields)
    }

    /// The same, with this value where there is none.
    pub(super) fn or(self, name: &str, value: &str) -> Self {
        match self.get(name) {
            Some(given) if !given.is_empty() => self,
            _ => self.with(name, value),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        match kind.trim() {
            "application/json" => match Json::<Value>::from_request(request, state).await {
                Ok(Json(value)) => of_json(value),
                Err(refused) => Err(Failed(refused.status(), refused.body_text())),
            },
            "multipart/form-data" => match Multipart::from_request(request, state).await {
                Ok(parts) => of_parts(parts).await.map_err(refused),
                Err(refused) => Err(Failed(refused.status(), refused.body_text())),
            },
            _ => match Form::<HashMap<String, String>>::from_request(request, state).await {
                Ok(Form(fields)) => Ok(Self(fields)),
                Err(refused) => Err(Failed(refused.status(), refused.body_text())),
            },
        }
    }
}

fn refused(error: MultipartError) -> Failed {
    Failed(error.status(), error.body_text())
}

/// A file that was not chosen is empty, and leaves the text of its field.
async fn of_parts(mut parts: Multipart) -> Result<Fields, MultipartError> {
    let mut fields = HashMap::new();
    while let Some(part) = parts.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        let text = part.text().await?;
        if !text.is_empty() || !fields.contains_key(&name) {
            fields.insert(name, text);
        }
    }
    Ok(Fields(fields))
}

/// An object of texts, numbers and truth values.
fn of_json(value: Value) -> Result<Fields, Failed> {
    let wrong = |message: String| Err(Failed(StatusCode::BAD_REQUEST, message));
    let Value::Object(given) = value else {
        return wrong("the body must be one JSON object, a member for each field".to_owned());
    };
    let mut fields = HashMap::new();
    for (name, value) in given {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(is) => is.to_string(),
            Value::Number(number) => number.to_string(),
            // A key of several columns, which is JSON itself.
            Value::Array(_) if name == "key" => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return wrong(format!(
                    "the field `{name}` must be a text, a number, true or false"
                ));
            }
        };
        fields.insert(name, text);
    }
    Ok(Fields(fields))
}
