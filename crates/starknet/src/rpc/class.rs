//! Contract classes as clients read them: Sierra, Cairo 0 and compiled (schemas `CONTRACT_CLASS`,
//! `DEPRECATED_CONTRACT_CLASS`, `CASM_COMPILED_CONTRACT_CLASS`).

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairo_lang_starknet_classes::NestedIntList;
use cairo_lang_starknet_classes::casm_contract_class::{CasmContractClass, CasmContractEntryPoints};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;
use starknet_api::contract_class::EntryPointType;
use starknet_api::state::{EntryPoint, SierraContractClass};
use starknet_types_core::felt::Felt;

use super::error::RpcError;
use super::hex::{Felts, Hex, parse_felt};
use crate::classes::Cairo0Class;

/// A Sierra class.
#[derive(Serialize)]
pub(crate) struct SierraJson<'a> {
    sierra_program: Felts<'a>,
    contract_class_version: &'a str,
    entry_points_by_type: SierraEntryPoints,
    abi: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct SierraEntryPoints {
    constructor: Vec<SierraEntryPoint>,
    external: Vec<SierraEntryPoint>,
    #[serde(rename = "L1_HANDLER")]
    l1_handler: Vec<SierraEntryPoint>,
}

#[derive(Serialize)]
struct SierraEntryPoint {
    selector: Hex,
    function_idx: usize,
}

impl<'a> From<&'a SierraContractClass> for SierraJson<'a> {
    fn from(class: &'a SierraContractClass) -> Self {
        let points = |points: &[EntryPoint]| {
            points
                .iter()
                .map(|point| SierraEntryPoint { selector: Hex(point.selector.0), function_idx: point.function_idx.0 })
                .collect()
        };
        let by_type = &class.entry_points_by_type;
        Self {
            sierra_program: Felts(&class.sierra_program),
            contract_class_version: &class.contract_class_version,
            entry_points_by_type: SierraEntryPoints {
                constructor: points(&by_type.constructor),
                external: points(&by_type.external),
                l1_handler: points(&by_type.l1handler),
            },
            abi: &class.abi,
        }
    }
}

/// A compiled class, without the hints for the Python VM, which the specification does not have.
pub(crate) fn casm(class: &CasmContractClass) -> impl Serialize + '_ {
    CasmJson {
        prime: format!("{:#x}", class.prime),
        compiler_version: &class.compiler_version,
        bytecode: &class.bytecode,
        // A single segment is written as a number by the compiler; the specification wants a list or nothing.
        bytecode_segment_lengths: class.bytecode_segment_lengths.as_ref().filter(|lengths| {
            matches!(lengths, NestedIntList::Node(lengths)
                if lengths.iter().all(|length| matches!(length, NestedIntList::Leaf(_))))
        }),
        hints: &class.hints,
        entry_points_by_type: &class.entry_points_by_type,
    }
}

#[derive(Serialize)]
struct CasmJson<'a, Words, Hints> {
    prime: String,
    compiler_version: &'a str,
    bytecode: &'a Words,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytecode_segment_lengths: Option<&'a NestedIntList>,
    hints: &'a Hints,
    entry_points_by_type: &'a CasmContractEntryPoints,
}

/// A Cairo 0 class: the program compressed with gzip and written in base64, entry points with offsets in hex.
///
/// # Errors
/// An internal error when what the chain holds is not such a class.
pub(crate) fn cairo0(class: &Cairo0Class) -> Result<Value, RpcError> {
    let broken = |what: &str| RpcError::internal(format!("class {:#x}: {what}", class.hash.0));
    let mut json: serde_json::Map<String, Value> =
        serde_json::from_str(&class.json).map_err(|error| broken(&error.to_string()))?;
    let program = json.remove("program").ok_or_else(|| broken("it has no program"))?;
    let points = json.remove("entry_points_by_type").ok_or_else(|| broken("it has no entry points"))?;
    let mut out = serde_json::Map::new();
    out.insert("program".to_owned(), Value::from(compressed(&program).map_err(|error| broken(&error.to_string()))?));
    out.insert("entry_points_by_type".to_owned(), entry_points(points).map_err(|what| broken(&what))?);
    if let Some(abi @ Value::Array(_)) = json.remove("abi") {
        out.insert("abi".to_owned(), abi);
    }
    Ok(Value::Object(out))
}

fn compressed(program: &Value) -> std::io::Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(program.to_string().as_bytes())?;
    Ok(STANDARD.encode(gzip.finish()?))
}

fn entry_points(by_type: Value) -> Result<Value, String> {
    let Value::Object(by_type) = by_type else { return Err("its entry points are no object".to_owned()) };
    let mut out = serde_json::Map::new();
    for kind in [EntryPointType::Constructor, EntryPointType::External, EntryPointType::L1Handler] {
        let name = match kind {
            EntryPointType::Constructor => "CONSTRUCTOR",
            EntryPointType::External => "EXTERNAL",
            EntryPointType::L1Handler => "L1_HANDLER",
        };
        let points = match by_type.get(name) {
            Some(Value::Array(points)) => points.iter().map(entry_point).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        out.insert(name.to_owned(), Value::Array(points));
    }
    Ok(Value::Object(out))
}

fn entry_point(point: &Value) -> Result<Value, String> {
    let number = |name: &str| match &point[name] {
        Value::String(text) => parse_felt(text),
        // Old compilers wrote offsets as plain numbers.
        other => other.as_u64().map(Felt::from).ok_or_else(|| format!("an entry point has no {name}")),
    };
    Ok(serde_json::json!({ "offset": Hex(number("offset")?), "selector": Hex(number("selector")?) }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use starknet_api::core::ClassHash;

    use super::*;

    #[test]
    fn a_cairo_0_program_survives_its_compression() {
        let json = r#"{"program": {"data": ["0x1"], "prime": "0x800000000000011000000000000000000000000000000000000000000000001"},
            "entry_points_by_type": {"EXTERNAL": [{"offset": "0x0a", "selector": "0x00ff"}, {"offset": 3, "selector": "0x2"}]},
            "abi": [{"type": "struct", "name": "S", "size": 1, "members": []}]}"#;
        let class = Cairo0Class { hash: ClassHash(Felt::ONE), json: json.into() };
        let out = cairo0(&class).expect("a class");
        assert_eq!(
            out["entry_points_by_type"],
            serde_json::json!({
                "CONSTRUCTOR": [],
                "EXTERNAL": [{"offset": "0xa", "selector": "0xff"}, {"offset": "0x3", "selector": "0x2"}],
                "L1_HANDLER": []
            })
        );
        let bytes = STANDARD.decode(out["program"].as_str().expect("base64")).expect("base64");
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        let program: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(program["data"][0], "0x1");
        assert_eq!(out["abi"][0]["name"], "S");
    }
}
