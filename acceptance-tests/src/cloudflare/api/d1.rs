//! `/d1/database`: the databases, and SQL on the same data that Workers see.

use serde_json::{Value, json};

use super::stores::{ask, json_of, paged, request, text};
use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::StoreKind;
use crate::cloudflare::sql;
use crate::cloudflare::stores::Database;

/// Tables of the user alone; the others are SQLite's and the engine's.
const COUNT_TABLES: &str = "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' \
     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'";

fn shown(database: &Database) -> Value {
    json!({
        "uuid": database.uuid, "name": database.name, "created_at": database.created_at,
        "version": "production",
    })
}

pub(super) async fn databases(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let wanted = api.query("name").unwrap_or_default();
            let all = api.seen.stores.databases.iter();
            let found = all.filter(|database| database.name.contains(wanted));
            paged(api, found.map(shown).collect(), 100, 10_000)
        }
        "POST" => {
            let body = api.json()?;
            let name = text(&body, "name")?;
            let now = clock::now();
            let created = api
                .cloud
                .change(|account| account.create_database(name, &now))
                .await?;
            Ok(ok(shown(&created)))
        }
        _ => Err(wrong_method()),
    }
}

/// One database. Wrangler asks for it by its name.
pub(super) async fn database(api: &Api, id: &str) -> Answer {
    let mut all = api.seen.stores.databases.iter();
    let named = all.find(|database| database.name == id);
    let uuid = named.map_or(id, |database| database.uuid.as_str());
    match api.method.as_str() {
        "GET" => {
            let mut found = shown(api.seen.stores.database(uuid)?);
            let counted = run(api, uuid, &json!([{"sql": COUNT_TABLES}]), "").await?;
            found["num_tables"] = counted[0]["results"][0]["tables"].clone();
            found["file_size"] = counted[0]["meta"]["size_after"].clone();
            Ok(ok(found))
        }
        "DELETE" => {
            api.cloud
                .change(|account| account.delete_database(uuid))
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// Rows as objects.
pub(super) async fn query(api: &Api, uuid: &str) -> Answer {
    execute(api, uuid, "").await
}

/// Rows as arrays, beside the names of the columns.
pub(super) async fn raw(api: &Api, uuid: &str) -> Answer {
    execute(api, uuid, "?resultsFormat=ROWS_AND_COLUMNS").await
}

async fn execute(api: &Api, uuid: &str, format: &str) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    let body = api.json()?;
    let queries = match body.get("batch").unwrap_or(&body) {
        Value::Array(queries) => queries.iter().collect(),
        query => vec![query],
    };
    let mut statements = Vec::new();
    for query in queries {
        let text = text(query, "sql")?;
        let params = query.get("params").and_then(Value::as_array);
        match params.filter(|params| !params.is_empty()) {
            Some(params) => statements.push(json!({"sql": text, "params": params})),
            None => statements.extend(
                sql::statements(text)
                    .into_iter()
                    .map(|statement| json!({"sql": statement})),
            ),
        }
    }
    run(api, uuid, &statements.into(), format).await.map(ok)
}

/// Runs statements in one transaction: the result of each, or 7500 with SQLite's own words.
async fn run(api: &Api, uuid: &str, statements: &Value, format: &str) -> Result<Value, ApiFailure> {
    api.cloud.account().stores.database(uuid)?;
    let request = request("POST", format!("/query{format}"));
    let response = ask(api, StoreKind::D1, uuid, request, statements.to_string()).await?;
    let answer = json_of(&response)?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Err(ApiFailure::refused(7500, error)),
        None => Ok(answer),
    }
}
