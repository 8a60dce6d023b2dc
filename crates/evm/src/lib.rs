//! The embedded EVM chain.
