//! The main job on local Cloudflare.

fn main() {}
