//! Why an execution failed, call by call (schema `CONTRACT_EXECUTION_ERROR`).

use blockifier::execution::stack_trace::{ErrorStack, ErrorStackSegment};
use serde_json::{Value, json};
use starknet_api::core::{ClassHash, ContractAddress, EntryPointSelector};
use starknet_api::execution_utils::format_panic_data;

use super::hex::Hex;

/// The calls on the way to the failure, the outermost first, each holding the next; the innermost holds the reason.
pub(crate) fn execution_error(stack: &ErrorStack) -> Value {
    let mut frames: Vec<(ContractAddress, ClassHash, EntryPointSelector)> = Vec::new();
    let mut reasons = Vec::new();
    for segment in &stack.stack {
        match segment {
            ErrorStackSegment::EntryPoint(frame) => {
                frames.push((frame.storage_address, frame.class_hash, frame.selector.unwrap_or_default()));
            }
            ErrorStackSegment::Cairo1RevertSummary(summary) => {
                frames.extend(
                    summary
                        .stack
                        .iter()
                        .map(|frame| (frame.contract_address, frame.class_hash.unwrap_or_default(), frame.selector)),
                );
                reasons.push(format_panic_data(&summary.last_retdata.0));
            }
            other => reasons.push(String::from(other)),
        }
    }
    frames.into_iter().rev().fold(Value::from(reasons.join("\n")), |error, (address, class_hash, selector)| {
        json!({
            "contract_address": Hex::from(address),
            "class_hash": Hex(class_hash.0),
            "selector": Hex(selector.0),
            "error": error,
        })
    })
}

#[cfg(test)]
mod tests {
    use blockifier::execution::stack_trace::{EntryPointErrorFrame, ErrorStackHeader, PreambleType};
    use starknet_types_core::felt::Felt;

    use super::*;

    #[test]
    fn the_innermost_call_holds_the_reason() {
        let frame = |address: u64| {
            ErrorStackSegment::EntryPoint(EntryPointErrorFrame {
                depth: 0,
                preamble_type: PreambleType::CallContract,
                storage_address: ContractAddress::from(address),
                class_hash: ClassHash(Felt::TWO),
                selector: None,
            })
        };
        let reason = ErrorStackSegment::StringFrame("out of luck".to_owned());
        let stack = ErrorStack { header: ErrorStackHeader::None, stack: vec![frame(1), frame(7), reason] };
        let inner = json!({"contract_address": "0x7", "class_hash": "0x2", "selector": "0x0", "error": "out of luck"});
        let outer = json!({"contract_address": "0x1", "class_hash": "0x2", "selector": "0x0", "error": inner});
        assert_eq!(execution_error(&stack), outer);
        assert_eq!(execution_error(&ErrorStack::default()), json!(""));
    }
}
