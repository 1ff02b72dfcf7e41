//! The resources. Each owns its schema, its model, and what validate, plan, apply, read and import mean for it.

mod diagnose;
mod do_namespace;
pub(crate) mod duration;
mod limit;
mod session;
mod waiting;
mod worker;

use std::sync::Arc;

pub use session::{Access, Login, Session};

use crate::tf::Resource;

/// Every resource of the provider.
pub fn all(session: &Arc<Session>) -> Vec<Arc<dyn Resource>> {
    vec![
        Arc::new(do_namespace::DoNamespace::new(session.clone())),
        Arc::new(worker::Worker::new(session.clone())),
    ]
}
