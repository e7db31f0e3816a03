//! The one place where platforms differ: instruction sets, and how one waits for a GPU.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod vector;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{adapter_name, in_parallel, wait_for_gpu};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{adapter_name, in_parallel, wait_for_gpu};
pub(crate) use vector::{TILE_ROWS, VectorTask, fuses, instruction_set, run_vectorised};
