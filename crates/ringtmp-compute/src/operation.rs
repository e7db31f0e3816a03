//! An operation: its views, its kernel and its function.

use crate::cpu::Scratch;
use crate::recording::View;
use std::fmt;
use std::sync::Arc;

/// How an operation uses a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written, and may be read.
    Write,
}

impl Access {
    /// Whether the view may change.
    pub const fn writes(self) -> bool {
        match self {
            Self::Read => false,
            Self::Write => true,
        }
    }
}

/// One view that an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The view.
    pub view: View,
    /// How it is used.
    pub access: Access,
    /// The size that the operation's dimensions ask for; nothing if that cannot be counted.
    pub elements: Option<usize>,
}

/// How an operation runs on a GPU: a shader, its constants and its grid.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// WGSL, the file that bears the operation's name.
    pub source: &'static str,
    /// Values of its `override` constants, but for the work-group size; 0 and 1 for false and true.
    pub constants: Vec<(&'static str, u32)>,
    /// The words of its `Dimensions`.
    pub dimensions: Vec<u32>,
    /// Threads that have something to do.
    pub threads: usize,
    /// Other shaders for the same, of which one may be faster on a device.
    pub variants: Vec<Variant>,
}

/// Threads of a work-group: every WebGPU device allows 128, and 64 is a whole number of waves on all of them.
pub const GROUP_THREADS: usize = 64;

/// A shader that does the same as another, with the same bindings, constants and dimensions. Sums may be in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name of its file.
    pub name: &'static str,
    /// WGSL.
    pub source: &'static str,
    /// Threads that have something to do.
    pub threads: usize,
    /// Where it is worth while to try it.
    pub suits: Suits,
}

/// Where a shader may be the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suits {
    /// Anywhere.
    All,
    /// Not where a GPU is emulated in software: its threads wait for each other, which takes seconds to compile there, and is slow.
    Hardware,
    /// Only there: a thread has more numbers at hand than a GPU has registers for, so that fewer are loaded.
    Software,
}

impl Variant {
    /// One whose threads work by themselves.
    pub fn of_threads(name: &'static str, source: &'static str, threads: usize) -> Self {
        Self {
            name,
            source,
            threads,
            suits: Suits::All,
        }
    }

    /// Likewise, for GPUs that are emulated.
    pub fn of_wide_threads(name: &'static str, source: &'static str, threads: usize) -> Self {
        Self {
            suits: Suits::Software,
            ..Self::of_threads(name, source, threads)
        }
    }

    /// One whose threads work together in groups.
    pub fn of_groups(name: &'static str, source: &'static str, groups: usize) -> Self {
        Self {
            name,
            source,
            threads: groups * GROUP_THREADS,
            suits: Suits::Hardware,
        }
    }
}

impl Kernel {
    /// A kernel without constants.
    pub fn new(source: &'static str, dimensions: &[usize], threads: usize) -> Self {
        Self {
            source,
            constants: Vec::new(),
            dimensions: dimensions.iter().map(|size| word(*size)).collect(),
            threads,
            variants: Vec::new(),
        }
    }

    /// One that treats numbers apart, four to a thread. Views are bound in whole fours, so that the last may reach into what
    /// lies between views, and belongs to none.
    pub fn in_fours(source: &'static str, elements: usize) -> Self {
        Self::new(source, &[elements], elements.div_ceil(4))
    }

    /// Adds a shader that may be faster, if it suits the sizes.
    pub fn variant(mut self, suits: bool, variant: Variant) -> Self {
        self.variants.extend(suits.then_some(variant));
        self
    }

    /// Sets an `override` constant.
    pub fn constant(mut self, name: &'static str, value: bool) -> Self {
        self.constants.push((name, u32::from(value)));
        self
    }

    /// Adds a number at the end of the `Dimensions`.
    pub fn number(mut self, value: f32) -> Self {
        self.dimensions.push(value.to_bits());
        self
    }
}

/// A size as a shader counts it; a checked plan has none that needs more than 31 bits.
pub(crate) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// What a function of the CPU gets: the views in the operation's order, as floats (casts turn them into words).
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) reads: Vec<&'a [f32]>,
    pub(crate) writes: Vec<&'a mut [f32]>,
    pub(crate) scratch: &'a mut Scratch,
}

type Function = Arc<dyn Fn(Call<'_>) + Send + Sync>;

/// One thing to compute. A shader and a CPU function bear its name.
///
/// The functions that make one are with the layer that needs it, and in [`crate::operations`] where several do. The views
/// that are read come first, in this order also in the bindings of the shader.
#[derive(Clone)]
pub struct Operation {
    name: &'static str,
    operands: Vec<Operand>,
    kernel: Kernel,
    function: Function,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name)
            .field("operands", &self.operands)
            .field("kernel", &self.kernel.dimensions)
            .finish_non_exhaustive()
    }
}

impl Operation {
    /// An operation over views of which each must have the size beside it.
    pub(crate) fn new<const R: usize, const W: usize>(
        name: &'static str,
        reads: [(View, Option<usize>); R],
        writes: [(View, Option<usize>); W],
        kernel: Kernel,
        function: impl Fn([&[f32]; R], [&mut [f32]; W], &mut Scratch) + Send + Sync + 'static,
    ) -> Self {
        let operand = |access| {
            move |(view, elements)| Operand {
                view,
                access,
                elements,
            }
        };
        let reads = reads.into_iter().map(operand(Access::Read));
        let writes = writes.into_iter().map(operand(Access::Write));
        let function = move |call: Call<'_>| {
            let reads = call.reads.try_into();
            let writes = call.writes.try_into();
            let (Ok(reads), Ok(writes)) = (reads, writes) else {
                unreachable!("an executor hands over the operands that the operation names");
            };
            function(reads, writes, call.scratch);
        };
        Self {
            name,
            operands: reads.chain(writes).collect(),
            kernel,
            function: Arc::new(function),
        }
    }

    /// The name of its shader and of its CPU function.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its views, in the order of the bindings of its shader.
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// How it runs on a GPU.
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The shaders that it can run with on a GPU. The first, which bears its name, suits all sizes.
    pub fn variants(&self) -> Vec<Variant> {
        let Kernel {
            source,
            threads,
            ref variants,
            ..
        } = self.kernel;
        let plain = Variant::of_threads(self.name, source, threads);
        [&[plain], variants.as_slice()].concat()
    }

    /// Runs it on the CPU.
    pub(crate) fn call(&self, call: Call<'_>) {
        (self.function)(call);
    }
}

/// The product of sizes, if it can be counted.
pub(crate) fn product<const N: usize>(sizes: [usize; N]) -> Option<usize> {
    sizes
        .into_iter()
        .try_fold(1usize, |product, size| product.checked_mul(size))
}
