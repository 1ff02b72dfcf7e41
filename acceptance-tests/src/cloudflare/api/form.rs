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
            modules.push(part.module());
        }
    }
    Ok((metadata, modules))
}

/// A part as it was sent.
pub(super) struct Part {
    pub(super) name: String,
    file: Option<String>,
    content_type: Option<String>,
    pub(super) body: Bytes,
}

impl Part {
    /// As a module, which goes by its file name if it has one.
    fn module(self) -> ModuleFile {
        let file = self.file.filter(|file| !file.is_empty());
        let unknown = || "application/octet-stream".into();
        ModuleFile {
            name: file.unwrap_or(self.name),
            content_type: self.content_type.unwrap_or_else(unknown),
            body: self.body,
        }
    }
}

/// Reads the parts of a form.
pub(super) async fn parts(api: &Api) -> Result<Vec<Part>, ApiFailure> {
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
        let file = part.file_name().map(str::to_owned);
        let content_type = part
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let body = part.bytes().await.map_err(unreadable)?;
        found.push(Part {
            name,
            file,
            content_type,
            body,
        });
    }
    Ok(found)
}
