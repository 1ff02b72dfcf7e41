# Rename a Durable Object's class and keep its data.
#
#   terraform apply                              creates the namespace with the class `Counter`
#   terraform apply -var class_name=MyCounter    renames the class; every object keeps what it has stored
#
# The variable stands for an edit: in a project of your own change `class_name` and the code together. The plan shows
# the rename as one line under `migrations`. Never change `stable_id`: it is what tells a rename from a new namespace.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

variable "class_name" {
  description = "The class of the namespace; the file of this name exports it."
  type        = string
  default     = "Counter"
}

resource "cloudflare_do_namespace" "counter" {
  stable_id  = "counter"
  class_name = var.class_name
  sqlite     = true
}

resource "cloudflare_worker" "counter" {
  name               = "counter"
  compatibility_date = "2026-11-01"
  workers_dev        = true

  modules = {
    "worker.js" = { content_file = "${path.module}/${var.class_name}.js" }
  }

  bindings = {
    COUNTER = cloudflare_do_namespace.counter
  }
}

output "url" {
  value = cloudflare_worker.counter.url
}
