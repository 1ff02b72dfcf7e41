//! Queues of an account, and the Workers that consume them. Pure: messages are the runtime's business.

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::failure::ApiFailure;
use super::runtime::{Delivery, StoreKind};
use super::script::Exports;
use super::stores::{Stores, UnknownStores, check_given};

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// 32 hex digits.
    pub id: String,
    /// Unique in the account; never changes.
    pub name: String,
    /// When it was created.
    pub created_on: String,
    /// Who gets its messages.
    pub consumer: Option<Consumer>,
}

/// The Worker that gets the messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// 32 hex digits.
    pub id: String,
    /// The immutable id of the Worker.
    pub worker: String,
    /// The queue for messages that nobody can handle.
    pub dead_letter_queue: Option<String>,
    /// How messages are handed over.
    pub delivery: Delivery,
    /// When it was created.
    pub created_on: String,
}

/// A consumer as it is asked for.
#[derive(Clone, Debug)]
pub struct ConsumerRequest {
    /// The Worker's name.
    pub script: String,
    /// The queue for messages that nobody can handle.
    pub dead_letter_queue: Option<String>,
    /// How messages are handed over.
    pub delivery: Delivery,
}

impl Stores {
    /// The queue with an id.
    pub fn queue(&self, id: &str) -> Result<&Queue, ApiFailure> {
        let found = self.queues.iter().find(|queue| queue.id == id);
        found.ok_or_else(|| no_queue(404, id))
    }

    fn queue_mut(&mut self, id: &str) -> Result<&mut Queue, ApiFailure> {
        let found = self.queues.iter_mut().find(|queue| queue.id == id);
        found.ok_or_else(|| no_queue(404, id))
    }

    pub(super) fn has_queue(&self, name: &str) -> bool {
        self.queues.iter().any(|queue| queue.name == name)
    }

    /// The queues whose messages a Worker gets, by its immutable id.
    pub fn consumed_by<'a>(
        &'a self,
        worker: &'a str,
    ) -> impl Iterator<Item = (&'a Queue, &'a Consumer)> {
        self.queues
            .iter()
            .filter_map(|queue| Some((queue, queue.consumer.as_ref()?)))
            .filter(move |(_, consumer)| consumer.worker == worker)
    }

    /// A Worker is going to be deleted: 10064 if it consumes a queue.
    pub fn check_delete(&self, worker: &str) -> Result<(), ApiFailure> {
        match self.consumed_by(worker).next() {
            None => Ok(()),
            Some(_) => Err(ApiFailure::refused(
                10064,
                "Cannot delete this Worker as it is a consumer for a Queue. Remove it from the Queue's consumers \
                 first, then retry.",
            )),
        }
    }

    /// A Worker was deleted; its queues keep their messages.
    pub fn forget_worker(&mut self, worker: &str) {
        for queue in &mut self.queues {
            queue.consumer.take_if(|consumer| consumer.worker == worker);
        }
    }

    /// New code of a Worker that consumes a queue has to handle messages: 11001.
    pub fn check_handlers(&self, worker: &str, exports: &Exports) -> Result<(), ApiFailure> {
        if self.consumed_by(worker).next().is_some() {
            check_queue_handler(exports)?;
        }
        Ok(())
    }
}

impl Account {
    /// Creates a queue.
    pub fn create_queue(&mut self, name: &str, now: &str) -> Result<Queue, ApiFailure> {
        check_given("queue_name", name)?;
        if self.stores.has_queue(name) {
            return Err(ApiFailure::new(
                409,
                11009,
                format!(
                    "Queue name '{name}' is already taken. Please use a different name and try again."
                ),
            ));
        }
        let queue = Queue {
            id: self.issue_id(),
            name: name.into(),
            created_on: now.into(),
            consumer: None,
        };
        self.stores.queues.push(queue.clone());
        self.store_added();
        Ok(queue)
    }

    /// Deletes a queue with its messages, unless it takes the dead letters of another (11005).
    pub fn delete_queue(&mut self, id: &str) -> Result<(), ApiFailure> {
        let name = self.stores.queue(id)?.name.clone();
        let takes_letters = |queue: &Queue| {
            queue
                .consumer
                .as_ref()
                .is_some_and(|c| c.dead_letter_queue.as_ref() == Some(&name))
        };
        if self
            .stores
            .queues
            .iter()
            .any(|q| q.id != id && takes_letters(q))
        {
            return Err(ApiFailure::refused(
                11005,
                format!(
                    "Cannot delete queue '{name}' that serves as dead letter queue for consumers"
                ),
            ));
        }
        self.stores.queues.retain(|queue| queue.id != id);
        self.store_deleted(StoreKind::Queue, &name);
        Ok(())
    }

    /// Makes a Worker the consumer of a queue: a new one, or the one with the id `replaces`.
    pub fn set_consumer(
        &mut self,
        queue: &str,
        replaces: Option<&str>,
        request: ConsumerRequest,
        now: &str,
    ) -> Result<Consumer, ApiFailure> {
        let before = self.stores.queue(queue)?.consumer.clone();
        match (&before, replaces) {
            (Some(_), None) => {
                return Err(ApiFailure::refused(
                    11004,
                    "workers.api.error.consumer_exists",
                ));
            }
            (_, Some(id)) => check_consumer(before.as_ref(), id)?,
            (None, None) => {}
        }
        let script = self.worker(&request.script);
        let script = script.ok_or_else(ApiFailure::no_worker)?;
        check_queue_handler(&script.code.exports)?;
        let worker = script.tag.clone();
        if let Some(name) = &request.dead_letter_queue {
            self.find_queue(name, now)?;
        }
        let (id, created_on) = match before {
            Some(before) => (before.id, before.created_on),
            None => (self.issue_id(), now.into()),
        };
        let consumer = Consumer {
            id,
            worker,
            dead_letter_queue: request.dead_letter_queue,
            delivery: request.delivery,
            created_on,
        };
        self.stores.queue_mut(queue)?.consumer = Some(consumer.clone());
        self.serving += 1;
        Ok(consumer)
    }

    /// Takes the consumer away from a queue.
    pub fn remove_consumer(&mut self, queue: &str, id: &str) -> Result<(), ApiFailure> {
        let queue = self.stores.queue_mut(queue)?;
        check_consumer(queue.consumer.as_ref(), id)?;
        queue.consumer = None;
        self.serving += 1;
        Ok(())
    }

    /// Makes sure that a queue is there, as far as that is wanted.
    pub(super) fn find_queue(&mut self, name: &str, now: &str) -> Result<(), ApiFailure> {
        if self.stores.has_queue(name) {
            return Ok(());
        }
        if self.stores.unknown == UnknownStores::Refused {
            return Err(no_queue(400, name));
        }
        self.create_queue(name, now).map(|_| ())
    }
}

fn check_queue_handler(exports: &Exports) -> Result<(), ApiFailure> {
    if exports.handlers.iter().any(|handler| handler == "queue") {
        return Ok(());
    }
    Err(ApiFailure::refused(11001, "Queue handler is missing."))
}

pub(super) fn no_queue(status: u16, name: &str) -> ApiFailure {
    ApiFailure::new(status, 11000, format!("Queue '{name}' not found."))
}

fn check_consumer(consumer: Option<&Consumer>, id: &str) -> Result<(), ApiFailure> {
    if consumer.is_some_and(|consumer| consumer.id == id) {
        return Ok(());
    }
    // Code and text of this refusal are not published.
    Err(ApiFailure::new(
        404,
        11003,
        format!("Queue consumer '{id}' not found."),
    ))
}
