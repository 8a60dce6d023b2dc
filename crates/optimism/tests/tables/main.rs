//! What is decided, case by case.

mod attributes;
mod matching;
mod world;
