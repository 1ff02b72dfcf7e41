# Game state that lives in one Worker, `game-worker`, in its production environment, and is used by another.
#
# `script_name` says which Worker hosts the namespace. `environment` is passed on by every other Worker that binds it.
# Both Workers may bind the same object: the one with that name hosts it.

terraform {
  required_providers {
    cloudflare = {
      source = "durable-objects/cloudflare"
    }
  }
}

resource "cloudflare_do_namespace" "game" {
  stable_id   = "game-state"
  class_name  = "GameState"
  script_name = "game-worker"
  environment = "production"
}

resource "cloudflare_worker" "game" {
  name               = "game-worker"
  script             = file("${path.module}/game.js")
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    GAME = cloudflare_do_namespace.game
  }
}

resource "cloudflare_worker" "lobby" {
  name               = "lobby"
  script             = file("${path.module}/lobby.js")
  compatibility_date = "2026-11-01"
  workers_dev        = true

  bindings = {
    GAME = cloudflare_do_namespace.game
  }
}

output "game_url" {
  value = cloudflare_worker.game.url
}

output "lobby_url" {
  value = cloudflare_worker.lobby.url
}
