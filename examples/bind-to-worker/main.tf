# Bind a Durable Object namespace to a Worker, together with a plain-text variable.
#
# The Worker's code has to export the class: Cloudflare refuses an upload that binds a class it does not find.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

resource "cloudflare_do_namespace" "counter" {
  stable_id  = "counter"
  class_name = "Counter"
}

resource "cloudflare_worker" "my_worker" {
  name               = "my-worker"
  script             = file("${path.module}/worker.js")
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    COUNTER = cloudflare_do_namespace.counter
  }

  vars = {
    GREETING = "Hello, world!"
  }
}

output "url" {
  value = cloudflare_worker.my_worker.url
}
