//! The OpenAPI document, made from the table that requests are routed by. Never says anything that
//! is not in it.

use serde_json::{Map, Value, json};

use super::table::{Does, Field, Needs, OPERATIONS, Operation, Takes, Verb, is_variable};
use crate::config::AdminRole;
use crate::state::WEIGHT_MAX;

/// OpenAPI 3.1.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let verb = match operation.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[verb] = of_operation(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis edge, operator's listener",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn of_operation(operation: &Operation) -> Value {
    let steps = operation.path.split('/').filter(|step| is_variable(step));
    let mut parameters: Vec<Value> = steps.map(of_step).collect();
    let mut answers = json!({ "200": { "description": "Done, or shown." } });
    let refusals = match (operation.needs, operation.verb) {
        (Needs::Nothing | Needs::Metrics, _) => &[][..],
        (Needs::Role(_), Verb::Get) => &["401", "403"],
        (Needs::Role(_), Verb::Post) if is_tried(operation.does) => {
            &["400", "401", "403", "404", "409", "412", "413", "422"]
        }
        (Needs::Role(AdminRole::Read), Verb::Post) => &["400", "401", "403", "404", "413"],
        (Needs::Role(_), Verb::Post) => &["400", "401", "403", "404", "409", "412", "413"],
    };
    for status in refusals {
        answers[*status] = json!({
            "description": "Refused; the detail says why.",
            "content": { "application/problem+json": {} },
        });
    }
    if operation.needs == Needs::Role(AdminRole::Operate) {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": false,
            "description": "The ETag that was read: the change is refused with 412 if something was changed since.",
            "schema": { "type": "string" },
        }));
    }
    let mut told = json!({
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers,
        "security": match operation.needs {
            Needs::Nothing | Needs::Metrics => json!([{}]),
            Needs::Role(_) => json!([{ "token": [] }]),
        },
        "x-role": match operation.needs {
            Needs::Nothing | Needs::Metrics => Value::Null,
            Needs::Role(role) => json!(AdminRole::name(role)),
        },
    });
    if operation.verb == Verb::Post {
        told["requestBody"] = of_body(operation.body);
    }
    told
}

/// Whether it may turn out that it cannot be done.
fn is_tried(does: Does) -> bool {
    matches!(does, Does::Reload | Does::RollBack | Does::Upgrade)
}

fn of_step(step: &str) -> Value {
    let name = step.trim_matches(['{', '}']);
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "schema": { "type": "string" },
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
        "required": !required.is_empty(),
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": fields.iter().map(of_field).collect::<Map<_, _>>(),
            "required": required,
            "additionalProperties": false,
        } } },
    })
}

fn schema(takes: Takes) -> Value {
    let weight = json!({ "type": "integer", "minimum": 0, "maximum": WEIGHT_MAX });
    match takes {
        Takes::Weight => weight,
        Takes::Name | Takes::Network => json!({ "type": "string" }),
        Takes::Weights => json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": weight,
        }),
        Takes::Seconds | Takes::Number => json!({ "type": "integer", "minimum": 1 }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Setting => json!({ "anyOf": [
            { "enum": ["on", "off"] },
            { "type": "number", "minimum": 0, "maximum": 100 },
        ] }),
        Takes::Endpoints => json!({ "type": "array", "items": { "type": "string" } }),
        Takes::Pairs => json!({
            "type": "array",
            "items": {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 2,
                "maxItems": 2,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_told_with_its_method_steps_and_role() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let told: usize = paths
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(told, OPERATIONS.len());
        let drain = &paths["/v1/clusters/{cluster}/endpoints/{endpoint}/drain"]["post"];
        assert_eq!(drain["parameters"][0]["name"], "cluster");
        assert_eq!(drain["parameters"][1]["name"], "endpoint");
        assert_eq!(drain["x-role"], "operate");
        assert_eq!(paths["/livez"]["get"]["security"], json!([{}]));
        let ban = &paths["/v1/bans/add"]["post"]["requestBody"];
        let schema = &ban["content"]["application/json"]["schema"];
        assert_eq!(schema["required"], json!(["network"]));
        assert_eq!(schema["properties"]["ttl_seconds"]["minimum"], 1);
    }
}
