//! Zones of the account and the routes in them: which Worker answers which URLs of a domain. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::account::Account;
use super::failure::ApiFailure;

/// A domain that the account has at Cloudflare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// 32 hex digits; derives from the name, so that it is the same everywhere.
    pub id: String,
    /// The domain.
    pub name: String,
}

/// A route: a pattern of URLs, and the Worker that answers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// 32 hex digits.
    pub id: String,
    /// The zone it is in.
    pub zone: String,
    /// The pattern as it was sent.
    pub pattern: String,
    /// The immutable id of the Worker; without one the URLs go to no Worker.
    pub worker: Option<String>,
}

impl Zone {
    /// The zone of a domain.
    pub fn new(name: &str) -> Self {
        let digest = Sha256::digest(format!("zone {name}"));
        Self {
            id: hex::encode(&digest[..16]),
            name: name.into(),
        }
    }

    /// Whether a host is the domain or below it.
    pub fn covers(&self, host: &str) -> bool {
        host.strip_suffix(&self.name)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// What an account has from the start.
pub fn first_zones() -> Vec<Zone> {
    vec![Zone::new("example.com")]
}

/// Whether a text is a host name with at least two parts.
pub fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// A route's pattern, taken apart. The most specific pattern that matches a URL decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The host, or what it has to end in.
    host: String,
    /// Whether anything may stand before `host`.
    any_host: bool,
    /// The path, or what it has to begin with.
    path: String,
    /// Whether anything may follow `path`.
    any_path: bool,
}

impl Pattern {
    /// Reads `[http[s]://][*]host[/path][*]`: 10022 when it is none.
    pub fn parse(text: &str) -> Result<Self, ApiFailure> {
        let invalid = |text: String| ApiFailure::refused(10022, text);
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        if rest.contains('?') {
            return Err(invalid(format!(
                "Route pattern should not have query parameters {text}"
            )));
        }
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = host.to_ascii_lowercase();
        // Without a path, a star at the end of the host would be one in its middle.
        let (any_host, host) = match host.strip_prefix('*') {
            Some(host) => (true, host),
            None => (false, host.as_str()),
        };
        let (any_path, path) = match path.strip_suffix('*') {
            Some(path) => (true, path),
            None => (false, path),
        };
        if host.contains('*') || path.contains('*') {
            return Err(invalid(format!(
                "Route pattern may only contain wildcards at the beginning of the hostname and the end of the path: {text}"
            )));
        }
        let named = host.strip_prefix('.').filter(|_| any_host).unwrap_or(host);
        if !(is_domain(named) || any_host && host.is_empty()) {
            return Err(invalid(format!(
                "Could not understand route pattern {text}, please try a different pattern"
            )));
        }
        Ok(Self {
            host: host.into(),
            any_host,
            path: if path.is_empty() { "/" } else { path }.into(),
            any_path,
        })
    }

    /// Whether a URL is meant.
    pub fn matches(&self, host: &str, path: &str) -> bool {
        let host = if self.any_host {
            host.ends_with(&self.host)
        } else {
            host == self.host
        };
        host && if self.any_path {
            path.starts_with(&self.path)
        } else {
            path == self.path
        }
    }

    /// Larger for the pattern that wins: the host before the path, exact before star, long before short.
    pub fn rank(&self) -> impl Ord + use<> {
        (
            !self.any_host,
            self.host.len(),
            !self.any_path,
            self.path.len(),
        )
    }

    fn host(&self) -> &str {
        self.host.strip_prefix('.').unwrap_or(&self.host)
    }
}

/// A route as a request describes it.
#[derive(Clone, Debug)]
pub struct RouteDraft {
    /// The pattern.
    pub pattern: String,
    /// The Worker's name; none makes the URLs go to no Worker.
    pub script: Option<String>,
}

impl Account {
    /// The zone with an id.
    pub fn zone(&self, id: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.id == id)
    }

    /// The zone that a host is in: the longest of those that cover it.
    pub fn zone_of(&self, host: &str) -> Option<&Zone> {
        let covering = self.zones.iter().filter(|zone| zone.covers(host));
        covering.max_by_key(|zone| zone.name.len())
    }

    /// Adds a zone, unless it is there.
    pub fn add_zone(&mut self, name: &str) -> Result<(), ApiFailure> {
        if !is_domain(name) {
            return Err(ApiFailure::invalid(format!("{name:?} is not a domain")));
        }
        let zone = Zone::new(name);
        if self.zone(&zone.id).is_none() {
            self.zones.push(zone);
        }
        Ok(())
    }

    /// The route with an id: 10009 if it is not in the zone.
    pub fn route(&self, zone: &str, id: &str) -> Result<&Route, ApiFailure> {
        self.routes
            .iter()
            .find(|route| route.zone == zone && route.id == id)
            .ok_or_else(no_route)
    }

    /// A route as the API shows it.
    pub fn shown_route(&self, route: &Route) -> Value {
        let script = route.worker.as_deref().and_then(|tag| self.name_of(tag));
        json!({"id": route.id, "pattern": route.pattern, "script": script})
    }

    /// The routes that lead to the Worker with an immutable id.
    pub fn routes_to<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Route> {
        self.routes
            .iter()
            .filter(move |route| route.worker.as_deref() == Some(tag))
    }

    /// Adds a route to a zone, or changes the one with the id.
    pub fn put_route(
        &mut self,
        zone: &str,
        id: Option<&str>,
        draft: &RouteDraft,
    ) -> Result<Route, ApiFailure> {
        if let Some(id) = id {
            self.route(zone, id)?;
        }
        let pattern = Pattern::parse(&draft.pattern)?;
        let covered = self
            .zone(zone)
            .is_some_and(|zone| zone.covers(pattern.host()));
        if !covered && !pattern.host.is_empty() {
            return Err(ApiFailure::refused(
                10022,
                format!("Route pattern must include zone name: {}", draft.pattern),
            ));
        }
        let worker = match draft.script.as_deref() {
            None | Some("") => None,
            Some(script) => Some(
                self.worker(script)
                    .map(|script| script.tag.clone())
                    .ok_or_else(|| {
                        ApiFailure::refused(10019, "workers.api.error.invalid_route_script_missing")
                    })?,
            ),
        };
        let taken = self.routes.iter().any(|route| {
            route.zone == zone && route.pattern == draft.pattern && Some(route.id.as_str()) != id
        });
        if taken {
            return Err(ApiFailure::new(
                409,
                10020,
                "workers.api.error.duplicate_route",
            ));
        }
        let route = Route {
            id: id.map_or_else(|| self.issue_id(), str::to_owned),
            zone: zone.into(),
            pattern: draft.pattern.clone(),
            worker,
        };
        match self.routes.iter_mut().find(|other| other.id == route.id) {
            Some(former) => former.clone_from(&route),
            None => self.routes.push(route.clone()),
        }
        Ok(route)
    }

    /// Removes a route.
    pub fn delete_route(&mut self, zone: &str, id: &str) -> Result<(), ApiFailure> {
        self.route(zone, id)?;
        self.routes.retain(|route| route.id != id);
        Ok(())
    }

    /// Makes these the only routes of a Worker; the zone of each is given by id, by name, or by its pattern.
    pub fn replace_routes(
        &mut self,
        script: &str,
        wanted: &[(String, Option<String>)],
    ) -> Result<(), ApiFailure> {
        let tag = self.worker(script).ok_or_else(ApiFailure::no_worker)?;
        let tag = tag.tag.clone();
        let patterns: Vec<&String> = wanted.iter().map(|(pattern, _)| pattern).collect();
        self.routes.retain(|route| {
            route.worker.as_ref() != Some(&tag) || patterns.contains(&&route.pattern)
        });
        for (pattern, zone) in wanted {
            let found = match zone {
                Some(given) => self
                    .zones
                    .iter()
                    .find(|zone| zone.id == *given || zone.name == *given),
                None => self.zone_of(Pattern::parse(pattern)?.host()),
            };
            let zone = found.map(|zone| zone.id.clone()).ok_or_else(|| {
                ApiFailure::refused(
                    10022,
                    format!("Route pattern must include zone name: {pattern}"),
                )
            })?;
            let here = self
                .routes_to(&tag)
                .find(|route| route.zone == zone && route.pattern == *pattern)
                .map(|route| route.id.clone());
            let draft = RouteDraft {
                pattern: pattern.clone(),
                script: Some(script.into()),
            };
            self.put_route(&zone, here.as_deref(), &draft)?;
        }
        Ok(())
    }
}

fn no_route() -> ApiFailure {
    ApiFailure::new(404, 10009, "workers.api.error.route_not_found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_urls_that_cloudflare_documents() {
        for (pattern, url, matches) in [
            ("example.com/*", "example.com/a/b", true),
            ("example.com/*", "www.example.com/", false),
            ("*example.com/*", "www.example.com/", true),
            ("*example.com/*", "example.com/", true),
            ("*.example.com/*", "example.com/", false),
            ("*.example.com/*", "a.b.example.com/", true),
            ("example.com", "example.com/", true),
            ("example.com", "example.com/a", false),
            ("https://example.com/api*", "example.com/apis/x", true),
            ("example.com/api/*", "example.com/api", false),
            ("EXAMPLE.com/A", "example.com/A", true),
            ("example.com/A", "example.com/a", false),
            ("*/*", "anything.test/x", true),
        ] {
            let (host, path) = url.split_at(url.find('/').expect("it has a path"));
            let parsed = Pattern::parse(pattern).expect("it is a pattern");
            assert_eq!(parsed.matches(host, path), matches, "{pattern} {url}");
        }
    }

    #[test]
    fn a_pattern_that_cloudflare_refuses_is_refused_in_its_words() {
        for (pattern, text) in [
            ("example.com/a?b=1", "should not have query parameters"),
            ("www.*.example.com/", "may only contain wildcards"),
            ("example.com/*/a", "may only contain wildcards"),
            ("example.com*", "may only contain wildcards"),
            ("not a host/", "Could not understand"),
            ("", "Could not understand"),
        ] {
            let failure = Pattern::parse(pattern).expect_err(pattern);
            assert_eq!(failure.errors[0].code, 10022);
            assert!(failure.errors[0].message.contains(text), "{failure}");
        }
    }

    #[test]
    fn the_more_specific_of_two_patterns_ranks_higher() {
        for (winner, loser) in [
            ("www.example.com/*", "*.example.com/a/b"),
            ("*.shop.example.com/*", "*.example.com/*"),
            ("example.com/a/*", "example.com/*"),
            ("example.com/a", "example.com/a*"),
        ] {
            let rank = |text| Pattern::parse(text).expect("it is a pattern").rank();
            assert!(rank(winner) > rank(loser), "{winner} {loser}");
        }
    }
}
