//! Promises of the hive, kept by crowds of real machines in a seeded world.

mod crowds;
mod liars;
mod meshes;
mod scene;
mod scenes;
