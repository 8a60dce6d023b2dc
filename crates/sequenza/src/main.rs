//! The program `sequenza`.

use std::process::ExitCode;

/// Freed memory goes back to the system, and threads that allocate at once do not wait for each other. The system's
/// allocator was turned down because a node that has seen one large declare keeps its peak for good.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sequenza::main()
}
