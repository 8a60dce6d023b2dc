//! Contract classes: as declared, compiled, and ready to run.

use std::collections::HashMap;
use std::sync::Arc;

use blockifier::execution::contract_class::{CompiledClassV0, CompiledClassV1, RunnableCompiledClass};
use cairo_lang_starknet_classes::casm_contract_class::CasmContractClass;
use cairo_lang_starknet_classes::contract_class::ContractClass as CairoLangClass;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use starknet_api::block::BlockNumber;
use starknet_api::contract_class::compiled_class_hash::{HashVersion, HashableCompiledClass};
use starknet_api::contract_class::{ClassInfo, ContractClass, SierraVersion};
use starknet_api::core::{ClassHash, CompiledClassHash};
use starknet_api::rpc_transaction::EntryPointByType;
use starknet_api::state::SierraContractClass;
use starknet_core::types::contract::legacy::LegacyContractClass;
use starknet_types_core::felt::Felt;

/// Upper bound of CASM bytecode in felts, as the public network has it.
pub const BYTECODE_FELTS_MAX: usize = 81_920;

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
    /// Sierra version of the program. Below 1.7.0 execution is priced by VM steps.
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
    /// `bytecode_felts_max` bounds the CASM in felts; the public network has [`BYTECODE_FELTS_MAX`].
    pub fn compile(sierra: SierraContractClass, bytecode_felts_max: usize) -> Result<Self, ClassError> {
        let casm = casm_of(&sierra, bytecode_felts_max)?;
        Self::with_casm(sierra, casm)
    }

    /// Puts a class together with what it compiled to.
    pub(crate) fn with_casm(sierra: SierraContractClass, casm: CasmContractClass) -> Result<Self, ClassError> {
        let sierra_version = sierra.get_sierra_version().map_err(|error| ClassError::Parse(error.to_string()))?;
        Ok(Self {
            hash: sierra.calculate_class_hash(),
            compiled_hash_v1: casm.hash(&HashVersion::V1),
            compiled_hash_v2: casm.hash(&HashVersion::V2),
            sierra: Arc::new(sierra),
            casm: Arc::new(casm),
            sierra_version,
        })
    }

    /// What a DECLARE transaction carries into execution.
    pub fn class_info(&self) -> ClassInfo {
        ClassInfo {
            contract_class: ContractClass::V1((self.casm.as_ref().clone(), self.sierra_version.clone())),
            sierra_program_length: self.sierra.sierra_program.len(),
            abi_length: self.sierra.abi.len(),
            sierra_version: self.sierra_version.clone(),
        }
    }
}

/// Compiles, without hashing.
pub(crate) fn casm_of(
    sierra: &SierraContractClass,
    bytecode_felts_max: usize,
) -> Result<CasmContractClass, ClassError> {
    sierra.get_sierra_version().map_err(|error| ClassError::Parse(error.to_string()))?;
    let parse = |error: serde_json::Error| ClassError::Parse(error.to_string());
    // The compiler has its own type for the same JSON; the ABI plays no part in compiling.
    let bare = SierraContractClass { abi: String::new(), ..sierra.clone() };
    let mut json = serde_json::to_value(&bare).map_err(parse)?;
    if let Some(object) = json.as_object_mut() {
        object.remove("abi");
    }
    let class: CairoLangClass = serde_json::from_value(json).map_err(parse)?;
    let program = class.extract_sierra_program(false).map_err(|error| ClassError::Compile(error.to_string()))?;
    CasmContractClass::from_contract_class(class, program, true, bytecode_felts_max)
        .map_err(|error| ClassError::Compile(error.to_string()))
}

impl DeclaredClass {
    /// Reads a class from its JSON (Sierra with the ABI as text or array, or Cairo 0) and compiles it if it is Sierra.
    pub fn from_json(json: &str) -> Result<Self, ClassError> {
        let parse = |error: serde_json::Error| ClassError::Parse(error.to_string());
        let keys: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(parse)?;
        if keys.contains_key("sierra_program") {
            let sierra = sierra_from_json(json)?;
            return Ok(Self::Sierra(SierraClass::compile(sierra, BYTECODE_FELTS_MAX)?));
        }
        if !keys.contains_key("program") {
            return Err(ClassError::Parse("neither `sierra_program` nor `program` is there".into()));
        }
        // Some compilers write an empty list for no debug information, which is no part of the hash.
        let plain = json
            .replace("\"debug_info\": []", "\"debug_info\": null")
            .replace("\"debug_info\":[]", "\"debug_info\":null");
        let legacy: LegacyContractClass = serde_json::from_str(&plain).map_err(parse)?;
        let hash = legacy.class_hash().map_err(|error| ClassError::Parse(error.to_string()))?;
        let hash = ClassHash(Felt::from_bytes_be(&hash.to_bytes_be()));
        Ok(Self::Cairo0(Cairo0Class { hash, json: json.into() }))
    }

    /// Class hash.
    pub fn hash(&self) -> ClassHash {
        match self {
            Self::Sierra(class) => class.hash,
            Self::Cairo0(class) => class.hash,
        }
    }

    /// Makes it ready to run. Costs milliseconds: keep the result.
    pub fn runnable(&self) -> Result<RunnableCompiledClass, ClassError> {
        let compile =
            |error: cairo_vm::types::errors::program_errors::ProgramError| ClassError::Compile(error.to_string());
        match self {
            Self::Sierra(class) => {
                let versioned = (class.casm.as_ref().clone(), class.sierra_version.clone());
                Ok(RunnableCompiledClass::V1(CompiledClassV1::try_from(versioned).map_err(compile)?))
            }
            Self::Cairo0(class) => {
                Ok(RunnableCompiledClass::V0(CompiledClassV0::try_from_json_string(&class.json).map_err(compile)?))
            }
        }
    }

    /// Rough size in memory, in bytes, for bounding caches.
    pub fn weight(&self) -> usize {
        match self {
            Self::Sierra(class) => {
                class.sierra.sierra_program.len() * 32 + class.sierra.abi.len() + class.casm.bytecode.len() * 64 + 4096
            }
            Self::Cairo0(class) => class.json.len() + 4096,
        }
    }
}

/// Reads a Sierra class from JSON. The ABI may be text, as it is declared and hashed, or the array the compiler writes.
pub fn sierra_from_json(json: &str) -> Result<SierraContractClass, ClassError> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        sierra_program: Vec<Felt>,
        contract_class_version: String,
        entry_points_by_type: EntryPointByType,
        #[serde(borrow, default)]
        abi: Option<&'a RawValue>,
    }
    let shape: Shape<'_> = serde_json::from_str(json).map_err(|error| ClassError::Parse(error.to_string()))?;
    let abi = match shape.abi.map(RawValue::get) {
        None | Some("null") => String::new(),
        Some(text) if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|error| ClassError::Parse(error.to_string()))?
        }
        Some(array) => spaced_json(array),
    };
    Ok(SierraContractClass {
        sierra_program: shape.sierra_program,
        contract_class_version: shape.contract_class_version,
        entry_points_by_type: shape.entry_points_by_type,
        abi,
    })
}

/// JSON as Python's `json.dumps` spaces it (`", "` and `": "`), which is the form whose hash enters the class hash.
fn spaced_json(json: &str) -> String {
    let mut spaced = String::with_capacity(json.len() + json.len() / 4);
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            spaced.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            match character {
                ',' => spaced.push_str(", "),
                ':' => spaced.push_str(": "),
                blank if blank.is_ascii_whitespace() => {}
                other => {
                    in_string = other == '"';
                    spaced.push(other);
                }
            }
        }
    }
    spaced
}

/// Classes lately used, bounded by weight. The runnable form is made once per stay.
#[derive(Debug)]
pub(crate) struct ClassCache {
    weight_max: usize,
    inner: Mutex<CacheInner>,
}

#[derive(Debug, Default)]
struct CacheInner {
    weight: usize,
    tick: u64,
    classes: HashMap<ClassHash, Cached>,
}

#[derive(Debug)]
struct Cached {
    used: u64,
    weight: usize,
    class: Arc<CachedClass>,
}

/// A class with its runnable form.
#[derive(Debug)]
pub(crate) struct CachedClass {
    pub(crate) declared: Arc<DeclaredClass>,
    pub(crate) declared_in: BlockNumber,
    pub(crate) runnable: RunnableCompiledClass,
}

impl ClassCache {
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { weight_max, inner: Mutex::default() }
    }

    pub(crate) fn get(&self, hash: ClassHash) -> Option<Arc<CachedClass>> {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let cached = inner.classes.get_mut(&hash)?;
        cached.used = tick;
        Some(Arc::clone(&cached.class))
    }

    /// Keeps a class and makes room by dropping those unused longest.
    pub(crate) fn put(
        &self,
        declared: Arc<DeclaredClass>,
        declared_in: BlockNumber,
    ) -> Result<Arc<CachedClass>, ClassError> {
        let hash = declared.hash();
        // The runnable form is about as large as the declared one.
        let weight = declared.weight() * 2;
        let class = Arc::new(CachedClass { runnable: declared.runnable()?, declared, declared_in });
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let used = inner.tick;
        if let Some(old) = inner.classes.insert(hash, Cached { used, weight, class: Arc::clone(&class) }) {
            inner.weight -= old.weight;
        }
        inner.weight += weight;
        while inner.weight > self.weight_max && inner.classes.len() > 1 {
            let Some(oldest) = inner.classes.iter().min_by_key(|(_, cached)| cached.used).map(|(hash, _)| *hash) else {
                break;
            };
            if let Some(dropped) = inner.classes.remove(&oldest) {
                inner.weight -= dropped.weight;
            }
        }
        Ok(class)
    }
}
