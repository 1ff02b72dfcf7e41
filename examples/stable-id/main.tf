# What happens when a stable ID changes: it is another namespace, so Terraform plans a forced replacement.
#
#   terraform apply                           creates the namespace `counter`
#   terraform plan -var stable_id=visits      shows the replacement, and is refused once `counter` holds data
#
# The variable stands for an edit that is almost always a mistake. To give the class another name, change `class_name`
# (see ../rename). To throw the data away on purpose, apply `force_destroy = true` first.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

variable "stable_id" {
  description = "The namespace's identity. It never changes as long as you want its data."
  type        = string
  default     = "counter"
}

resource "cloudflare_do_namespace" "counter" {
  stable_id  = var.stable_id
  class_name = "Counter"
}

resource "cloudflare_worker" "counter" {
  name               = "counter"
  compatibility_date = "2026-11-01"
  workers_dev        = true

  modules = {
    "worker.js" = { content_file = "${path.module}/worker.js" }
  }

  bindings = {
    COUNTER = cloudflare_do_namespace.counter
  }
}

output "url" {
  value = cloudflare_worker.counter.url
}
