//! Values as JSON, the form in which cores keep state. JSON cannot say "unknown".

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::tf::{Number, Type, Value};

/// Why JSON is no value of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not JSON")]
    Syntax(#[from] serde_json::Error),
    #[error("expected {expected} at `{path}`")]
    Mismatch {
        expected: &'static str,
        path: String,
    },
}

/// Reads one value of a type. Members of objects may be missing, which is null; members that the type does not know
/// are left out.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, JsonError> {
    read(serde_json::from_slice(bytes)?, ty, "")
}

fn read(json: Json, ty: &Type, path: &str) -> Result<Value, JsonError> {
    let step = |step: &str| {
        if path.is_empty() {
            step.to_owned()
        } else {
            format!("{path}.{step}")
        }
    };
    let mismatch = |expected| JsonError::Mismatch {
        expected,
        path: path.to_owned(),
    };
    match (ty, json) {
        (_, Json::Null) => Ok(Value::Null),
        (Type::Bool, Json::Bool(bool)) => Ok(Value::Bool(bool)),
        (Type::Number, Json::Number(number)) => Number::parse(number.as_str())
            .map(Value::Number)
            .ok_or_else(|| mismatch("a number")),
        (Type::Number, Json::String(text)) => Number::parse(&text)
            .map(Value::Number)
            .ok_or_else(|| mismatch("a number")),
        (Type::String, Json::String(text)) => Ok(text.into()),
        (Type::List(element) | Type::Set(element), Json::Array(list)) => {
            let elements: Result<Vec<Value>, JsonError> = list
                .into_iter()
                .enumerate()
                .map(|(index, json)| read(json, element, &step(&index.to_string())))
                .collect();
            Ok(Value::List(elements?))
        }
        (Type::Map(element), Json::Object(map)) => {
            let elements: Result<BTreeMap<String, Value>, JsonError> = map
                .into_iter()
                .map(|(key, json)| {
                    let value = read(json, element, &step(&key))?;
                    Ok((key, value))
                })
                .collect();
            Ok(Value::Map(elements?))
        }
        (Type::Object(members), Json::Object(mut object)) => {
            let members: Result<BTreeMap<String, Value>, JsonError> = members
                .iter()
                .map(|(name, ty)| {
                    let json = object.remove(name).unwrap_or(Json::Null);
                    Ok((name.clone(), read(json, ty, &step(name))?))
                })
                .collect();
            Ok(Value::Map(members?))
        }
        (Type::Bool, _) => Err(mismatch("a boolean")),
        (Type::Number, _) => Err(mismatch("a number")),
        (Type::String, _) => Err(mismatch("text")),
        (Type::List(_) | Type::Set(_), _) => Err(mismatch("an array")),
        (Type::Map(_) | Type::Object(_), _) => Err(mismatch("an object")),
    }
}

/// The JSON by which the protocol names a type.
pub fn type_name(ty: &Type) -> Json {
    match ty {
        Type::Bool => "bool".into(),
        Type::Number => "number".into(),
        Type::String => "string".into(),
        Type::List(element) => Json::Array(vec!["list".into(), type_name(element)]),
        Type::Set(element) => Json::Array(vec!["set".into(), type_name(element)]),
        Type::Map(element) => Json::Array(vec!["map".into(), type_name(element)]),
        Type::Object(members) => {
            let members = members
                .iter()
                .map(|(name, ty)| (name.clone(), type_name(ty)))
                .collect();
            Json::Array(vec!["object".into(), Json::Object(members)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> Type {
        Type::Object(BTreeMap::from([
            ("name".to_owned(), Type::String),
            ("limit".to_owned(), Type::Number),
            ("flags".to_owned(), Type::Set(Box::new(Type::String))),
            ("vars".to_owned(), Type::Map(Box::new(Type::Bool))),
        ]))
    }

    #[test]
    fn state_of_an_earlier_release_lacks_attributes_and_has_others() {
        let json = br#" { "name": "chat", "gone": [1], "flags": ["a"], "vars": {"x": null} } "#;
        let expect = Value::object([
            ("name", "chat".into()),
            ("limit", Value::Null),
            ("flags", vec!["a"].into()),
            ("vars", Value::object([("x", Value::Null)])),
        ]);
        assert_eq!(decode(json, &worker()).expect("is a state"), expect);
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        let json = br#"{"limit": 12345678901234567890.5}"#;
        let state = decode(json, &worker()).expect("is a state");
        let expect = Number::Text("12345678901234567890.5".into());
        assert_eq!(state.get("limit"), &Value::Number(expect));
    }

    #[test]
    fn a_state_of_another_shape_is_refused_with_the_place() {
        let error = decode(br#"{"vars": {"x": "yes"}}"#, &worker()).expect_err("is no boolean");
        assert_eq!(error.to_string(), "expected a boolean at `vars.x`");
        assert!(decode(b"{", &worker()).is_err());
        assert!(decode("[".repeat(100_000).as_bytes(), &worker()).is_err());
    }

    #[test]
    fn types_are_named_as_the_protocol_does() {
        assert_eq!(
            type_name(&worker()).to_string(),
            r#"["object",{"flags":["set","string"],"limit":"number","name":"string","vars":["map","bool"]}]"#
        );
    }
}
