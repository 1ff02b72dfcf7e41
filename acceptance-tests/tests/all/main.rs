//! The acceptance tests: one binary, so that it is linked once. A module for each thing that a user does.

mod driver;
