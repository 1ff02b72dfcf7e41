//! Which Worker a URL belongs to: routes, custom domains and workers.dev, as one look-up table. Pure.

use std::collections::HashMap;

use super::account::Account;
use super::routes::Pattern;

/// All public addresses of an account's Workers at one time.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The most specific pattern first.
    routes: Vec<(Pattern, Option<String>)>,
    /// Custom domains and places on workers.dev.
    hosts: HashMap<String, String>,
}

impl Addresses {
    /// The addresses that an account gives its Workers.
    pub fn of(account: &Account) -> Self {
        let mut hosts = HashMap::new();
        if let Some(subdomain) = &account.subdomain {
            for (name, script) in &account.scripts {
                if script.subdomain.enabled {
                    hosts.insert(format!("{name}.{subdomain}.workers.dev"), name.clone());
                }
            }
        }
        for domain in account.domains.iter().filter(|domain| domain.enabled) {
            if let Some(name) = account.name_of(&domain.worker) {
                hosts.insert(domain.hostname.clone(), name.into());
            }
        }
        let mut routes: Vec<(Pattern, Option<String>)> = account
            .routes
            .iter()
            .filter_map(|route| {
                let worker = route.worker.as_deref();
                let name = worker.and_then(|tag| account.name_of(tag));
                Some((
                    Pattern::parse(&route.pattern).ok()?,
                    name.map(str::to_owned),
                ))
            })
            .collect();
        routes.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.rank()));
        Self { routes, hosts }
    }

    /// The Worker for a URL. A route runs before the custom domain of the same host; one without a Worker lets the
    /// request through to it.
    pub fn find(&self, host: &str, path: &str) -> Option<&str> {
        let route = self
            .routes
            .iter()
            .find(|(pattern, _)| pattern.matches(host, path));
        route
            .and_then(|(_, script)| script.as_deref())
            .or_else(|| self.hosts.get(host).map(String::as_str))
    }
}
