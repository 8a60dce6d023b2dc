//! Ends an execution that takes too long or whose trace grows too large.

use std::time::Instant;

use revm::Inspector;
use revm::context_interface::ContextTr;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter};

/// Instructions between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1_024;
/// What a recorded instruction occupies without stack and memory, about.
const STEP_BYTES: usize = 160;
/// What a recorded call occupies without its input, about.
const CALL_BYTES: usize = 512;
/// A word of stack in a trace.
const WORD_BYTES: usize = 32;

/// What of an execution is recorded, and so counts against the bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded {
    pub(super) steps: bool,
    pub(super) stack: bool,
    pub(super) memory: bool,
    pub(super) calls: bool,
}

/// Why an execution was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    Time,
    Bytes,
}

/// Looks at the clock now and then, and counts what the inspector beside it records.
#[derive(Debug)]
pub(super) struct Watch {
    deadline: Instant,
    steps: u32,
    recorded: Recorded,
    bytes_left: usize,
    excess: Option<Excess>,
}

impl Watch {
    pub(super) fn new(deadline: Instant, recorded: Recorded, bytes_max: usize) -> Self {
        Self { deadline, steps: 0, recorded, bytes_left: bytes_max, excess: None }
    }

    /// Whether, and why, the execution was not let go on to its end.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess
    }

    fn spend(&mut self, bytes: usize) {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => self.excess = Some(Excess::Bytes),
        }
    }

    fn look(&mut self) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() >= self.deadline {
            self.excess = Some(Excess::Time);
        }
    }
}

impl<CTX: ContextTr> Inspector<CTX> for Watch {
    fn step(&mut self, interpreter: &mut Interpreter, _context: &mut CTX) {
        self.look();
        if self.recorded.steps {
            let stack = if self.recorded.stack { interpreter.stack.len() * WORD_BYTES } else { 0 };
            let memory = if self.recorded.memory { interpreter.memory.len() } else { 0 };
            self.spend(STEP_BYTES + stack + memory);
        }
        if self.excess.is_some() {
            // Every frame comes by here, so that the outer ones end as well.
            interpreter.gas.spend_all();
            interpreter.halt(InstructionResult::OutOfGas);
        }
    }

    fn call(&mut self, _context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        if self.recorded.calls {
            self.spend(CALL_BYTES + inputs.input.len());
        }
        None
    }

    fn create(&mut self, _context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        if self.recorded.calls {
            self.spend(CALL_BYTES + inputs.init_code().len());
        }
        None
    }
}
