//! Between protobuf and [`crate::tf`]: values, schemas, diagnostics, paths.

use crate::tf::{
    Attribute, AttributePath, Diagnostic, Diagnostics, Kind, Mode, Nesting, Schema, Severity, Step,
    Type, Value,
};

use super::json::{self, JsonError};
use super::msgpack::{self, DecodeError, EncodeError};
use super::pb::tfplugin6 as proto;

/// Why a value of a request cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("{0}")]
    Msgpack(#[from] DecodeError),
    #[error("{0}")]
    Json(#[from] JsonError),
}

/// Reads a value of a request. Cores send MessagePack; one without any content is null.
pub fn value_from_proto(
    value: Option<&proto::DynamicValue>,
    ty: &Type,
) -> Result<Value, ValueError> {
    match value {
        Some(value) if !value.msgpack.is_empty() => Ok(msgpack::decode(&value.msgpack, ty)?),
        Some(value) if !value.json.is_empty() => Ok(json::decode(&value.json, ty)?),
        _ => Ok(Value::Null),
    }
}

/// Writes a value for an answer.
pub fn value_to_proto(value: &Value, ty: &Type) -> Result<proto::DynamicValue, EncodeError> {
    Ok(proto::DynamicValue {
        msgpack: msgpack::encode(value, ty)?.into(),
        json: prost::bytes::Bytes::new(),
    })
}

/// Null of any type.
pub fn null() -> proto::DynamicValue {
    proto::DynamicValue {
        msgpack: prost::bytes::Bytes::from_static(&[0xc0]),
        json: prost::bytes::Bytes::new(),
    }
}

/// A schema for GetProviderSchema.
pub fn schema_to_proto(schema: &Schema) -> proto::Schema {
    proto::Schema {
        version: schema.version,
        block: Some(proto::schema::Block {
            attributes: schema.attributes.iter().map(attribute_to_proto).collect(),
            description: schema.description.to_string(),
            description_kind: proto::StringKind::Markdown.into(),
            ..proto::schema::Block::default()
        }),
    }
}

fn attribute_to_proto(attribute: &Attribute) -> proto::schema::Attribute {
    // Cores take either a type or a nested type, never both.
    let (ty, nested_type) = match &attribute.kind {
        Kind::Plain(ty) => (json::type_name(ty).to_string().into_bytes(), None),
        Kind::Nested(nesting, members) => {
            let object = proto::schema::Object {
                attributes: members.iter().map(attribute_to_proto).collect(),
                nesting: nesting_to_proto(*nesting).into(),
                ..proto::schema::Object::default()
            };
            (Vec::new(), Some(object))
        }
    };
    proto::schema::Attribute {
        name: attribute.name.to_string(),
        r#type: ty,
        nested_type,
        description: attribute.description.to_string(),
        description_kind: proto::StringKind::Markdown.into(),
        required: attribute.mode == Mode::Required,
        optional: matches!(attribute.mode, Mode::Optional | Mode::OptionalComputed),
        computed: matches!(attribute.mode, Mode::Computed | Mode::OptionalComputed),
        sensitive: attribute.sensitive,
        write_only: attribute.write_only,
        ..proto::schema::Attribute::default()
    }
}

fn nesting_to_proto(nesting: Nesting) -> proto::schema::object::NestingMode {
    match nesting {
        Nesting::Single => proto::schema::object::NestingMode::Single,
        Nesting::List => proto::schema::object::NestingMode::List,
        Nesting::Set => proto::schema::object::NestingMode::Set,
        Nesting::Map => proto::schema::object::NestingMode::Map,
    }
}

/// Diagnostics for any answer.
pub fn diagnostics_to_proto(diagnostics: Diagnostics) -> Vec<proto::Diagnostic> {
    diagnostics
        .into_iter()
        .map(|diagnostic| {
            let Diagnostic {
                severity,
                summary,
                detail,
                path,
            } = diagnostic;
            let severity = match severity {
                Severity::Error => proto::diagnostic::Severity::Error,
                Severity::Warning => proto::diagnostic::Severity::Warning,
            };
            proto::Diagnostic {
                severity: severity.into(),
                summary,
                detail,
                attribute: path
                    .filter(|path| !path.steps.is_empty())
                    .map(path_to_proto),
            }
        })
        .collect()
}

/// A path for a diagnostic or for `requires_replace`.
pub fn path_to_proto(path: AttributePath) -> proto::AttributePath {
    use proto::attribute_path::step::Selector;
    let steps = path
        .steps
        .into_iter()
        .map(|step| {
            let selector = match step {
                Step::Attribute(name) => Selector::AttributeName(name),
                Step::Key(key) => Selector::ElementKeyString(key),
                Step::Index(index) => Selector::ElementKeyInt(index),
            };
            proto::attribute_path::Step {
                selector: Some(selector),
            }
        })
        .collect();
    proto::AttributePath { steps }
}
