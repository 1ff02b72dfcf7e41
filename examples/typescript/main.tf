# A Worker in TypeScript, of several files: the provider bundles it, with the SQL and the text that it imports.
#
# Packages from npm are bundled, too: run `npm ci` before `terraform plan`. Nothing else of Node.js is needed.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

variable "stage" {
  description = "Is compiled into the code."
  type        = string
  default     = "test"
}

resource "cloudflare_do_namespace" "guest_book" {
  stable_id  = "guest-book"
  class_name = "GuestBook"
}

resource "cloudflare_worker" "guests" {
  name               = "guests"
  entrypoint         = "${path.module}/src/worker.ts"
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bundle = {
    minify     = true
    source_map = true
    define     = { STAGE = jsonencode(var.stage) }
  }

  bindings = {
    GUEST_BOOK = cloudflare_do_namespace.guest_book
  }
}

output "url" {
  value = cloudflare_worker.guests.url
}
