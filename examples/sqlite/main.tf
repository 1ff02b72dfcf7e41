# A Durable Object that keeps its data in SQLite.
#
# `sqlite = true` is the default and is written here to be seen. Cloudflare cannot convert a namespace from one storage
# to the other, so the provider refuses to change it later.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

resource "cloudflare_do_namespace" "users" {
  stable_id  = "user-store"
  class_name = "User"
  sqlite     = true
}

resource "cloudflare_worker" "users" {
  name               = "users"
  script             = file("${path.module}/worker.js")
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    USERS = cloudflare_do_namespace.users
  }
}

output "url" {
  value = cloudflare_worker.users.url
}
