//! Instruction sets of the CPU.

/// Rows of two vectors that a loop can add to at once: 12 accumulators leave 4 of the 16 registers of SSE2 and AVX2 for operands; browsers' compilers
/// want more of them for themselves, and are a third slower with 6 rows than with 4.
pub(crate) const TILE_ROWS: usize = if cfg!(target_arch = "wasm32") { 4 } else { 6 };

/// Work that is compiled once for each instruction set, with the width of its vectors as a constant.
///
/// The width may change how fast it is, never which bits it gives.
pub(crate) trait VectorTask {
    /// Does the work; must be inlined for the instruction set to reach its loops. `LANES` is two vectors' worth of f32.
    fn run<const LANES: usize>(self);
}

/// Runs a task with the widest instruction set of this CPU.
pub(crate) fn run_vectorised(task: impl VectorTask) {
    #[cfg(target_arch = "x86_64")]
    {
        struct Wide<T, const LANES: usize>(T);
        impl<T: VectorTask, const LANES: usize> pulp::NullaryFnOnce for Wide<T, LANES> {
            type Output = ();
            #[inline(always)]
            fn call(self) {
                self.0.run::<LANES>();
            }
        }
        match pulp::Arch::new() {
            pulp::Arch::V4(avx512) => return avx512.vectorize(Wide::<_, 32>(task)),
            pulp::Arch::V3(avx2) => return avx2.vectorize(Wide::<_, 16>(task)),
            _ => {}
        }
    }
    // SSE2, NEON and simd128 have 128 bits, and are chosen when the program is compiled.
    task.run::<8>();
}

/// Whether what [`run_vectorised`] runs has fused multiply-add as an instruction. Without one it would be a function, and very slow.
pub(crate) fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(pulp::Arch::new(), pulp::Arch::V3(_) | pulp::Arch::V4(_));
    #[cfg(not(target_arch = "x86_64"))]
    cfg!(target_arch = "aarch64")
}

/// The instruction set that [`run_vectorised`] takes, for people.
pub(crate) fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(_) => return "AVX-512",
        pulp::Arch::V3(_) => return "AVX2",
        _ => {}
    }
    if cfg!(target_feature = "simd128") {
        "simd128"
    } else if cfg!(target_feature = "sse2") {
        "SSE2"
    } else if cfg!(target_feature = "neon") {
        "NEON"
    } else {
        "scalar"
    }
}
