//! How a request and its answer cross from process to process: a head in JSON, then the bodies as they are.
