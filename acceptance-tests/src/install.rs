//! Makes the tools available that tests and the demo need: the Workers runtime, and a core (Terraform or OpenTofu).
