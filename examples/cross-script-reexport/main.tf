# Share a Durable Object between Workers: the client takes the binding from the Worker that hosts it.
#
# The reference also orders the two: the host is deployed first and destroyed last.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

resource "cloudflare_do_namespace" "shared_counter" {
  stable_id  = "shared-counter"
  class_name = "SharedCounter"
  sqlite     = true
}

resource "cloudflare_worker" "host" {
  name               = "host"
  entrypoint         = "${path.module}/host.ts"
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    SHARED_COUNTER = cloudflare_do_namespace.shared_counter
  }
}

resource "cloudflare_worker" "client" {
  name               = "client"
  entrypoint         = "${path.module}/client.ts"
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    SHARED_COUNTER = cloudflare_worker.host.bindings.SHARED_COUNTER
  }
}

output "host_url" {
  value = cloudflare_worker.host.url
}

output "client_url" {
  value = cloudflare_worker.client.url
}
