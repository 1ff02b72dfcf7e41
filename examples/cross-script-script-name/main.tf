# Share a Durable Object between Workers: the namespace names its host, and both Workers bind the same object.
#
# Nothing orders the two, and nothing needs to: they are deployed in parallel, and the client waits for the namespace.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

locals {
  host = "host"
}

resource "cloudflare_do_namespace" "shared_counter" {
  stable_id   = "shared-counter"
  class_name  = "SharedCounter"
  script_name = local.host
  sqlite      = true
}

resource "cloudflare_worker" "host" {
  name               = local.host
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
    SHARED_COUNTER = cloudflare_do_namespace.shared_counter
  }
}

output "host_url" {
  value = cloudflare_worker.host.url
}

output "client_url" {
  value = cloudflare_worker.client.url
}
