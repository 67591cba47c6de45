//! `GET /api/v1/openapi.json`: what every route takes and answers, made from one table that a test holds to the routes.
//! Never says anything that is not in it.
//!
//! The edge tells its own API in the same way. A crate that reads it from attributes of handlers would bring derives for
//! every body, while statuses are chosen in one place here, which no handler knows: its annotations could not be held to
//! the truth, and this table can.

mod table;

use std::collections::BTreeMap;

use axum::Json;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use table::{Field, Needs, OPERATIONS, Operation, Takes};

/// Whoever may ask may ask the routes themselves: there is nothing to hide.
pub(super) async fn handle() -> Json<Value> {
    Json(document())
}

/// OpenAPI 3.1.
pub(super) fn document() -> Value {
    let statuses = statuses();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_ascii_lowercase()] = of_operation(operation, &statuses);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Portcullis auth", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "api_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "Or as Authorization: Bearer; never both.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "session",
                    "description": "The session cookie, under the name that SESSION_COOKIE_NAME says; changes need X-CSRF-Token, too.",
                },
            },
            "schemas": { "Problem": {
                "type": "object",
                "properties": {
                    "type": { "type": "string" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "code": { "type": "string" },
                    "detail": { "type": "string" },
                },
                "required": ["type", "title", "status", "code", "detail"],
            } },
        },
    })
}

/// The status of every code there is.
fn statuses() -> BTreeMap<&'static str, u16> {
    let samples = ApiError::samples();
    let told = samples.iter().map(ApiError::told);
    told.map(|(status, code)| (code, status.as_u16())).collect()
}

fn of_operation(operation: &Operation, statuses: &BTreeMap<&'static str, u16>) -> Value {
    let mut parameters: Vec<Value> = steps(operation.path).map(of_step).collect();
    parameters.extend(operation.query.iter().map(of_query));
    let mut told = json!({
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers(operation, statuses),
        "security": match operation.needs {
            Needs::Nothing => json!([{}]),
            Needs::Session | Needs::Administrator => json!([{ "token": [] }, { "session": [] }]),
            Needs::Credential => json!([{ "token": [] }, { "api_key": [] }]),
            Needs::Anything => json!([{ "token": [] }, { "api_key": [] }, { "session": [] }]),
        },
        "x-role": match operation.needs {
            Needs::Administrator => json!("admin"),
            Needs::Nothing | Needs::Session | Needs::Credential | Needs::Anything => Value::Null,
        },
    });
    if !operation.body.is_empty() {
        told["requestBody"] = of_body(operation.body);
    }
    told
}

fn answers(operation: &Operation, statuses: &BTreeMap<&'static str, u16>) -> Value {
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in operation.refusals() {
        let status = statuses.get(code).copied().unwrap_or(500);
        codes.entry(status).or_default().push(code);
    }
    let refused = codes.into_iter().map(|(status, codes)| {
        let answer = json!({
            "description": format!("Refused: {}.", codes.join(", ")),
            "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
            } },
        });
        (status.to_string(), answer)
    });
    let mut answers: Map<String, Value> = refused.collect();
    for done in operation.done {
        let done = done.to_string();
        answers.insert(done, json!({ "description": "Done, or shown." }));
    }
    Value::Object(answers)
}

fn steps(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter(|step| step.starts_with('{'))
}

fn of_step(step: &str) -> Value {
    json!({
        "name": step.trim_matches(['{', '}']),
        "in": "path",
        "required": true,
        "schema": { "type": "string" },
    })
}

fn of_query(field: &Field) -> Value {
    json!({
        "name": field.name,
        "in": "query",
        "required": false,
        "description": field.meaning,
        "schema": schema(field.takes),
    })
}

fn of_body(fields: &[Field]) -> Value {
    let of_field = |field: &Field| {
        let mut schema = schema(field.takes);
        schema["description"] = json!(field.meaning);
        (field.name.to_owned(), schema)
    };
    let required = fields.iter().filter(|field| field.is_required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    json!({
        "required": true,
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": fields.iter().map(of_field).collect::<Map<_, _>>(),
            "required": required,
            "additionalProperties": false,
        } } },
    })
}

fn schema(takes: Takes) -> Value {
    match takes {
        Takes::Text => json!({ "type": "string" }),
        Takes::Secret => json!({ "type": "string", "format": "password" }),
        Takes::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Takes::Number => json!({ "type": "integer", "minimum": 1 }),
        Takes::Rows => json!({ "type": "integer", "minimum": 1, "maximum": 200 }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::http::{router, served};
    use crate::server::tests::inside;

    #[tokio::test]
    async fn every_route_is_told_with_its_methods_and_nothing_else_is() {
        let (_directory, inside) = inside().await;
        let told: BTreeSet<_> = OPERATIONS
            .iter()
            .map(|one| (one.path, one.method))
            .collect();
        assert_eq!(told.len(), OPERATIONS.len(), "none twice");
        let served = served(inside.service()).await.into_iter();
        let served: BTreeSet<_> = served
            .map(|(path, method)| (path, method.to_string()))
            .collect();
        let told: BTreeSet<_> = told
            .into_iter()
            .map(|(path, method)| (path, method.to_owned()))
            .collect();
        let missing: Vec<_> = served.difference(&told).collect();
        let invented: Vec<_> = told.difference(&served).collect();
        assert!(
            missing.is_empty(),
            "add them to http/openapi/table.rs: {missing:?}"
        );
        assert!(invented.is_empty(), "nobody serves them: {invented:?}");
    }

    #[tokio::test]
    async fn whoever_proves_nothing_gets_what_is_for_everybody_and_nothing_else() {
        let (_directory, inside) = inside().await;
        for operation in OPERATIONS {
            let request = Request::builder()
                .method(operation.method)
                .uri(operation.path.replace(['{', '}'], ""));
            let request = request.body(Body::empty()).unwrap();
            let answer = router(inside.service()).oneshot(request).await.unwrap();
            let is_open = operation.needs == Needs::Nothing;
            let (method, path) = (operation.method, operation.path);
            assert_eq!(answer.status() != 401, is_open, "{method} {path}");
        }
    }

    #[test]
    fn every_status_that_is_told_is_one_that_a_refusal_has() {
        let statuses = statuses();
        for operation in OPERATIONS {
            for code in operation.refusals() {
                assert!(statuses.contains_key(code), "{}: {code}", operation.path);
            }
        }
        let document = document();
        let verify = &document["paths"]["/api/v1/auth/verify"]["get"]["security"];
        let schemes = document["components"]["securitySchemes"]
            .as_object()
            .unwrap();
        let told = verify.as_array().unwrap().iter();
        let told = told.flat_map(|one| one.as_object().unwrap().keys());
        assert_eq!(told.clone().count(), 3, "{verify}");
        assert!(
            told.clone().all(|one| schemes.contains_key(one)),
            "{verify}"
        );
        let roles = &document["paths"]["/api/v1/admin/users/{id}/roles"]["put"];
        assert_eq!(roles["parameters"][0]["name"], "id");
        assert_eq!(roles["x-role"], "admin");
        let answers: Vec<_> = roles["responses"].as_object().unwrap().keys().collect();
        assert_eq!(
            answers,
            [
                "200", "400", "401", "403", "404", "408", "409", "413", "415", "503"
            ]
        );
        let schema = &roles["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["required"], json!(["roles"]));
    }
}
