//! Contract classes: as declared, compiled, and ready to run.

use std::sync::Arc;

use blockifier::execution::contract_class::RunnableCompiledClass;
use cairo_lang_starknet_classes::casm_contract_class::CasmContractClass;
use starknet_api::contract_class::{ClassInfo, SierraVersion};
use starknet_api::core::{ClassHash, CompiledClassHash};
use starknet_api::state::SierraContractClass;

/// A class with its compiled form and hashes. Sierra classes carry CASM, Cairo 0 classes run as they are.
#[derive(Clone, Debug)]
pub enum DeclaredClass {
    /// Cairo 1 and later.
    Sierra(SierraClass),
    /// Cairo 0: only from genesis, no longer declarable.
    Cairo0(Cairo0Class),
}

/// A Sierra class with its CASM.
#[derive(Clone, Debug)]
pub struct SierraClass {
    /// Class hash.
    pub hash: ClassHash,
    /// The class as declared.
    pub sierra: Arc<SierraContractClass>,
    /// What it compiles to.
    pub casm: Arc<CasmContractClass>,
    /// Version of the Sierra compiler that made it.
    pub sierra_version: SierraVersion,
    /// Compiled class hash, Poseidon scheme (before 0.14.1).
    pub compiled_hash_v1: CompiledClassHash,
    /// Compiled class hash, Blake2s scheme (0.14.1 and later).
    pub compiled_hash_v2: CompiledClassHash,
}

/// A Cairo 0 class.
#[derive(Clone, Debug)]
pub struct Cairo0Class {
    /// Class hash.
    pub hash: ClassHash,
    /// The class as its JSON text: program, entry points, ABI.
    pub json: Arc<str>,
}

/// Why a class cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// The Sierra program does not compile, or is too old or too new for the compiler.
    #[error("class does not compile: {0}")]
    Compile(String),
    /// The JSON is not a contract class.
    #[error("not a contract class: {0}")]
    Parse(String),
}

impl SierraClass {
    /// Compiles a Sierra class and computes its hashes. Takes up to seconds of CPU: not on an async thread.
    ///
    /// `bytecode_max` bounds the CASM in felts.
    pub fn compile(sierra: SierraContractClass, bytecode_max: usize) -> Result<Self, ClassError> {
        let _ = (sierra, bytecode_max);
        unimplemented!()
    }

    /// What a DECLARE transaction carries into execution.
    pub fn class_info(&self) -> ClassInfo {
        unimplemented!()
    }
}

impl DeclaredClass {
    /// Class hash.
    pub fn hash(&self) -> ClassHash {
        unimplemented!()
    }
    /// Ready to run.
    pub fn runnable(&self) -> Result<RunnableCompiledClass, ClassError> {
        unimplemented!()
    }
}
