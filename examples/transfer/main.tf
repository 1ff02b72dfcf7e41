# Move Durable Objects to another Worker, and swap the names of two classes; the data stays with the stable IDs.
#
#   terraform apply                                          `shop` hosts both namespaces, `warehouse` binds them
#   terraform apply -var host=warehouse                      both move to `warehouse`, and `shop` goes on binding them
#   terraform apply -var host=warehouse -var swapped=true    each namespace gets the class name of the other one
#
# The variables stand for edits. The plan shows the moves as `transfer` and `leave`, the swap as two renames in two uploads.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

variable "host" {
  description = "The Worker that hosts both namespaces: shop or warehouse."
  type        = string
  default     = "shop"
}

variable "swapped" {
  description = "Whether the classes have each other's names."
  type        = bool
  default     = false
}

locals {
  modules = {
    "worker.js"  = { content_file = "${path.module}/${var.swapped ? "swapped" : "as-they-are"}.js" }
    "classes.js" = { content_file = "${path.module}/classes.js" }
  }
  bindings = {
    VISITORS = cloudflare_do_namespace.visitors
    ORDERS   = cloudflare_do_namespace.orders
  }
}

resource "cloudflare_do_namespace" "visitors" {
  stable_id   = "visitors"
  class_name  = var.swapped ? "Orders" : "Visitors"
  script_name = var.host
}

resource "cloudflare_do_namespace" "orders" {
  stable_id   = "orders"
  class_name  = var.swapped ? "Visitors" : "Orders"
  script_name = var.host
}

resource "cloudflare_worker" "shop" {
  name               = "shop"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  main_module        = "worker.js"
  modules            = local.modules
  bindings           = local.bindings
}

resource "cloudflare_worker" "warehouse" {
  name               = "warehouse"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  main_module        = "worker.js"
  modules            = local.modules
  bindings           = local.bindings
}

output "shop_url" {
  value = cloudflare_worker.shop.url
}

output "warehouse_url" {
  value = cloudflare_worker.warehouse.url
}
