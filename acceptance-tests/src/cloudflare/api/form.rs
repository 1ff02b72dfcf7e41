//! Multipart bodies. Clients send the parts in any order, with or without file names and content types.

use axum::body::Bytes;
use futures_util::stream;
use serde_json::Value;

use super::Api;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::ModuleFile;

/// The parts of a form.
pub(super) struct Form {
    /// The JSON part.
    pub(super) metadata: Value,
    /// All other parts.
    pub(super) modules: Vec<ModuleFile>,
}

/// Reads a form whose JSON part has a given name.
pub(super) async fn read(api: &Api, json_part: &str) -> Result<Form, ApiFailure> {
    let (metadata, modules) = read_parts(api, json_part).await?;
    let metadata = metadata.ok_or_else(|| {
        ApiFailure::refused(
            10026,
            format!("The request has no part named '{json_part}'."),
        )
    })?;
    Ok(Form { metadata, modules })
}

/// Reads a form that may do without a JSON part.
pub(super) async fn read_parts(
    api: &Api,
    json_part: &str,
) -> Result<(Option<Value>, Vec<ModuleFile>), ApiFailure> {
    let (mut metadata, mut modules) = (None, Vec::new());
    for part in parts(api).await? {
        if part.name == json_part {
            let value: Value = serde_json::from_slice(&part.body).map_err(|error| {
                ApiFailure::invalid(format!("could not parse the {json_part} part: {error}"))
            })?;
            api.note.set(value.clone());
            metadata = Some(value);
        } else {
            modules.push(part);
        }
    }
    Ok((metadata, modules))
}

/// Reads the parts of a form.
pub(super) async fn parts(api: &Api) -> Result<Vec<ModuleFile>, ApiFailure> {
    let content_type = api
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let boundary = content_type
        .and_then(|text| multer::parse_boundary(text).ok())
        .ok_or_else(|| ApiFailure::refused(10001, "Content-Type must be multipart/form-data."))?;
    let unreadable = |error: multer::Error| {
        ApiFailure::refused(10026, format!("Could not parse the request body: {error}"))
    };
    let body = stream::iter([Ok::<Bytes, multer::Error>(api.body.clone())]);
    let mut parts = multer::Multipart::new(body, boundary);
    let mut found = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part
            .name()
            .or(part.file_name())
            .unwrap_or_default()
            .to_owned();
        let content_type = part
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let body = part.bytes().await.map_err(unreadable)?;
        found.push(ModuleFile {
            name,
            content_type: content_type.unwrap_or_else(|| "application/octet-stream".into()),
            body,
        });
    }
    Ok(found)
}
