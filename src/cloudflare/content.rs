//! The code of a live Worker, as it was uploaded.

use std::convert::Infallible;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use super::call::Call;
use super::{AccountId, ApiError, Client, Module};
use crate::durable::ScriptName;

/// The modules of a Worker. None for a Worker of assets only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The module that the runtime starts, where Cloudflare says it.
    pub main_module: Option<String>,
    /// Names, content types and bytes.
    pub modules: Vec<Module>,
}

impl Client {
    /// The code of a Worker. A script that is no form has no name, and its type is all that is known of it.
    pub async fn content(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Content, ApiError> {
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "scripts",
            script.as_str(),
            "content",
            "v2",
        ];
        let call = Call::get("read the code of the Worker", &path)?.raw();
        let (headers, body, mut failure) = self.send(&call).await?.into_file();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let main_module = header("cf-entrypoint").map(str::to_owned);
        let kind = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if body.is_empty() {
            return Ok(Content::default());
        }
        let modules = if plain(kind)
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
        {
            let modules = match multer::parse_boundary(kind) {
                Ok(boundary) => parts(boundary, body).await,
                Err(error) => Err(error),
            };
            modules.map_err(|error| {
                // The error tells of the form, never of what is in it.
                failure.detail = Some(format!("the code is not a readable form: {error}"));
                ApiError::Decode(failure)
            })?
        } else {
            vec![Module {
                name: main_module.clone().unwrap_or_default(),
                content_type: plain(kind).to_owned(),
                body,
            }]
        };
        Ok(Content {
            main_module,
            modules,
        })
    }
}

async fn parts(boundary: String, body: Bytes) -> Result<Vec<Module>, multer::Error> {
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(body)]);
    let mut form = multer::Multipart::new(stream, boundary);
    let mut modules = Vec::new();
    while let Some(part) = form.next_field().await? {
        let name = part
            .name()
            .or(part.file_name())
            .unwrap_or_default()
            .to_owned();
        let content_type = part
            .content_type()
            .map(|kind| plain(kind.essence_str()).to_owned());
        modules.push(Module {
            name,
            content_type: content_type.unwrap_or_default(),
            body: part.bytes().await?,
        });
    }
    Ok(modules)
}

/// A content type without its parameters.
fn plain(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::super::server::{Reply, Server, account, refusal, script};
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"index.js\"; filename=\"index.js\"\r\n\
        Content-Type: application/javascript+module\r\n\r\nexport default {}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"a.txt\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\nhi\r\n--b--\r\n";
    const HEADERS: &str =
        "content-type: multipart/form-data; boundary=b\r\ncf-entrypoint: index.js\r\n";

    async fn content(reply: Reply) -> Result<Content, ApiError> {
        let server = Server::start([reply]).await;
        server.client().content(&account(), &script("chat")).await
    }

    #[tokio::test]
    async fn modules_come_with_names_types_and_bytes() {
        let content = content(Reply::Answer(200, HEADERS, FORM.to_owned()))
            .await
            .expect("a form");
        assert_eq!(content.main_module.as_deref(), Some("index.js"));
        let seen: Vec<_> = content
            .modules
            .iter()
            .map(|module| {
                (
                    module.name.as_str(),
                    module.content_type.as_str(),
                    &module.body[..],
                )
            })
            .collect();
        let expected: [(&str, &str, &[u8]); 2] = [
            (
                "index.js",
                "application/javascript+module",
                b"export default {}",
            ),
            ("a.txt", "text/plain", b"hi"),
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_worker_without_code_has_no_modules() {
        let content = content(Reply::Answer(204, "", String::new()))
            .await
            .expect("nothing");
        assert_eq!(content, Content::default());
    }

    #[tokio::test]
    async fn a_script_that_is_no_form_is_one_module() {
        for (headers, name) in [
            (
                "content-type: application/javascript; charset=utf-8\r\n",
                "",
            ),
            (
                "content-type: application/javascript\r\ncf-entrypoint: a.js\r\n",
                "a.js",
            ),
        ] {
            let content = content(Reply::Answer(200, headers, "hello".to_owned()))
                .await
                .expect("a script");
            let [module] = &content.modules[..] else {
                panic!("{content:?}");
            };
            let seen = (module.name.as_str(), module.content_type.as_str());
            assert_eq!(seen, (name, "application/javascript"));
            assert_eq!(module.body, "hello");
        }
    }

    #[tokio::test]
    async fn a_form_that_cannot_be_read_is_an_error_without_its_content() {
        let complete = FORM.len() - "\r\n".len();
        let cuts = (1..complete).map(|end| (HEADERS, FORM[..end].to_owned()));
        let garbage = [
            (HEADERS, "export default {}".to_owned()),
            ("content-type: multipart/form-data\r\n", FORM.to_owned()),
            (
                "content-type: multipart/form-data; boundary=c\r\n",
                FORM.to_owned(),
            ),
            (
                "content-type: Multipart/Mixed; boundary=b\r\n",
                FORM.to_owned(),
            ),
        ];
        let answers: Vec<_> = cuts.chain(garbage).collect();
        let replies = answers.iter().cloned();
        let server =
            Server::start(replies.map(|(headers, body)| Reply::Answer(200, headers, body))).await;
        let client = server.client();
        for (headers, body) in answers {
            let shown = format!("{headers}{body}");
            let error = client
                .content(&account(), &script("chat"))
                .await
                .expect_err(&shown);
            assert!(matches!(error, ApiError::Decode(_)), "{shown}: {error}");
            assert!(!error.to_string().contains("export default"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_worker_is_not_found() {
        let missing = refusal(404, 10007, "This Worker does not exist on your account.");
        let error = content(missing).await.expect_err("it is missing");
        assert!(matches!(error, ApiError::NotFound(_)), "{error}");
    }
}
