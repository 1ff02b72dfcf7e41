# The smallest Worker with a Durable Object: one namespace, one Worker that hosts it.
#
# `stable_id` is the namespace's identity and never changes. `class_name` is the class in worker.js, and may.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id  = "chat-rooms"
  class_name = "ChatRoom"
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  script             = file("${path.module}/worker.js")
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    ROOMS = cloudflare_do_namespace.rooms
  }
}

output "url" {
  value = cloudflare_worker.chat.url
}
