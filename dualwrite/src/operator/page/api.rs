//! The document of the JSON API, made from the lists of commands and queries. Pure.

use serde_json::{Map, Value, json};

use crate::operator::page::queries::{QUERIES, Query};
use crate::operator::specs::{COMMANDS, CommandField, CommandSpec};

/// The document, in OpenAPI 3.1.
pub(super) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dualwrite",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Migrations of a service, and commands to them. Paths are relative to where the page is mounted.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "." }],
        "security": [{ "bearer": [] }, {}],
        "paths": paths(),
        "components": components(),
    })
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    let list = |item: Value| json!({ "type": "array", "items": item });
    let mut add = |path: &str, what: Value| drop(paths.insert(path.to_owned(), what));
    let overview = reference("Migration");
    add("/migrations", get("All migrations, by name", list(overview.clone()), false));
    add("/migrations/{name}", get("One migration", overview, true));
    add("/commands", get("The commands that there are", list(json!({ "type": "object" })), false));
    add("/openapi.json", get("This document", json!({ "type": "object" }), false));
    for query in &QUERIES {
        let path = format!("/migrations/{{name}}/{}", query.name);
        add(&path, get(query.about, answer_of(query), true));
    }
    for spec in &COMMANDS {
        let path = format!("/migrations/{{name}}/commands/{}", spec.name);
        add(&path, json!({ "post": command(spec) }));
    }
    let names = list(json!({ "type": "string" }));
    let (contract, removal) = (reference("Contract"), reference("Removal"));
    add("/contracts", get("The migrations that declare what is old", names.clone(), false));
    add("/contracts/{name}", get("Whether the old side may be dropped", contract.clone(), true));
    let approve = said("Gives the approval that the contract asks for", contract.clone(), false);
    add("/contracts/{name}/approve", approve);
    add("/contracts/{name}/backup", said("Confirms a restored backup", contract, true));
    add("/removals", get("The names of all removals", names, false));
    add("/removals/{name}", get("Where a removal stands", removal.clone(), true));
    add("/removals/{name}/backup", said("Confirms a restored backup", removal, true));
    paths
}

fn components() -> Value {
    json!({
        "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        "schemas": schemas(),
        "parameters": {
            "name": name(),
            "accept": {
                "name": "Accept", "in": "header", "required": true,
                "schema": { "const": "application/json" },
            },
        },
        "responses": {
            "Refused": told("Refused: it says why, and what to do next"),
            "Unanswered": told("The database did not answer, or lacks the control tables"),
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn answer_of(query: &Query) -> Value {
    let item = match query.item {
        Some(fields) => object(fields),
        None => json!({ "type": "object" }),
    };
    match query.is_list {
        true => json!({ "type": "array", "items": item }),
        // There may be none yet.
        false => json!({ "anyOf": [item, { "type": "null" }] }),
    }
}

/// An object with these texts and numbers at the least.
fn object(fields: &[(&str, &str)]) -> Value {
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn get(about: &str, schema: Value, is_named: bool) -> Value {
    let parameters = if is_named { vec![parameter("name")] } else { Vec::new() };
    json!({ "get": { "summary": about, "parameters": parameters, "responses": responses(schema) } })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn name() -> Value {
    json!({
        "name": "name", "in": "path", "required": true, "description": "The migration",
        "schema": { "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z0-9][a-z0-9._-]*$" },
    })
}

fn responses(schema: Value) -> Value {
    json!({
        "200": { "description": "Done", "content": { "application/json": { "schema": schema } } },
        "4XX": { "$ref": "#/components/responses/Refused" },
        "503": { "$ref": "#/components/responses/Unanswered" },
    })
}

fn told(about: &str) -> Value {
    json!({
        "description": about,
        "content": {
            "application/problem+json": { "schema": reference("Problem") },
            "text/plain": { "schema": { "type": "string" } },
        },
    })
}

/// What somebody says, with the reason.
fn said(about: &str, answer: Value, with_output: bool) -> Value {
    let mut properties = Map::new();
    properties.insert("because".to_owned(), reference("because"));
    if with_output {
        let about = "What the command that made and restored it printed, for the audit";
        properties.insert("output".to_owned(), json!({ "type": "string", "description": about }));
    }
    let body = json!({ "type": "object", "required": ["because"], "properties": properties });
    json!({ "post": {
        "summary": about,
        "parameters": [parameter("name"), parameter("accept")],
        "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
        "responses": responses(answer),
    } })
}

fn command(spec: &CommandSpec) -> Value {
    let mut properties = Map::new();
    for field in spec.fields {
        properties.insert(field.name.to_owned(), of_field(field));
    }
    for common in ["because", "expect-epoch", "dry-run"] {
        properties.insert(common.to_owned(), reference(common));
    }
    let mut required: Vec<&str> =
        spec.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    required.push("because");
    let body = json!({ "type": "object", "required": required, "properties": properties });
    json!({
        "summary": spec.about,
        "parameters": [parameter("name"), parameter("accept")],
        "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
        "responses": responses(reference("Outcome")),
    })
}

fn of_field(field: &CommandField) -> Value {
    let kind = if field.is_flag { "boolean" } else { "string" };
    json!({ "type": kind, "description": field.about })
}

fn contract() -> Value {
    object(&[
        ("migration", "string"),
        ("may_drop", "boolean"),
        ("ended", "boolean"),
        ("missing", "array"),
        ("evidence", "array"),
        ("statements", "array"),
    ])
}

fn removal() -> Value {
    object(&[
        ("name", "string"),
        ("may_go_on", "boolean"),
        ("may_drop", "boolean"),
        ("phase", "string"),
        ("missing", "array"),
        ("uses", "array"),
    ])
}

fn schemas() -> Value {
    let blockers =
        json!({ "type": "array", "items": object(&[("gate", "string"), ("reason", "string")]) });
    let mut outcome = object(&[
        ("migration", "string"),
        ("text", "string"),
        ("dry_run", "boolean"),
        ("position", "string"),
        ("epoch", "integer"),
    ]);
    outcome["properties"]["blockers"] = blockers;
    outcome["properties"]["way_back"] = json!({ "type": ["string", "null"] });
    json!({
        "Migration": object(&[
            ("name", "string"),
            ("position", "string"),
            ("epoch", "integer"),
            ("generation", "integer"),
            ("dead_letters", "integer"),
            ("dead_letters_to_old", "integer"),
            ("instances", "integer"),
            ("started", "array"),
            ("hazards", "array"),
        ]),
        "Outcome": outcome,
        "Contract": contract(),
        "Removal": removal(),
        "because": {
            "type": "string", "minLength": 1, "maxLength": 2000, "description": "Why, for the audit",
        },
        "expect-epoch": {
            "type": "integer", "minimum": 0,
            "description": "Only if nobody has moved the migration since; a rollback and the kill switch always act",
        },
        "dry-run": {
            "type": "boolean",
            "description": "Say what would happen, and what stands against it, and do nothing",
        },
        "Problem": object(&[("status", "integer"), ("title", "string"), ("detail", "string")]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::page::routes::SPEC;

    #[test]
    fn the_document_that_is_served_is_the_one_of_the_lists() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/operator/page/openapi.json");
        let made = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &made).unwrap();
        } else {
            assert_eq!(SPEC, made, "run this test with UPDATE=1");
        }
    }
}
