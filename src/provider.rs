//! Provider configuration and the registry of resources.
