//! Instruction sets of the CPU.

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
    if let pulp::Arch::V3(avx2) = pulp::Arch::new() {
        struct Wide<T>(T);
        impl<T: VectorTask> pulp::NullaryFnOnce for Wide<T> {
            type Output = ();
            #[inline(always)]
            fn call(self) {
                self.0.run::<16>();
            }
        }
        return avx2.vectorize(Wide(task));
    }
    // SSE2, NEON and simd128 have 128 bits, and are chosen when the program is compiled.
    task.run::<8>();
}

/// The instruction set that [`run_vectorised`] takes, for people.
pub(crate) fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if let pulp::Arch::V3(_) = pulp::Arch::new() {
        return "AVX2";
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
