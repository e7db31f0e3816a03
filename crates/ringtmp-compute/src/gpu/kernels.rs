//! Kernels: the shader of an operation, its constants and its grid.

use crate::recording::{MatrixProduct, Operation};

/// Threads of a work-group: every WebGPU device allows 128, and 64 is a whole number of waves on all of them.
pub(super) const WORKGROUP: u32 = 64;

/// Rows of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
const TILE_ROWS: usize = 4;

/// Columns of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
const TILE_COLUMNS: usize = 4;

/// The most words of an operation's uniform block.
pub(super) const UNIFORM_WORDS: usize = 16;

/// The shaders by name.
const SHADERS: &[(&str, &str)] = &[
    (
        "column_sum",
        include_str!("../../../../shaders/column_sum.wgsl"),
    ),
    (
        "cross_entropy",
        include_str!("../../../../shaders/cross_entropy.wgsl"),
    ),
    (
        "matrix_product",
        include_str!("../../../../shaders/matrix_product.wgsl"),
    ),
    ("relu", include_str!("../../../../shaders/relu.wgsl")),
    (
        "relu_backward",
        include_str!("../../../../shaders/relu_backward.wgsl"),
    ),
    ("sgd", include_str!("../../../../shaders/sgd.wgsl")),
];

/// How an operation runs on a GPU.
pub(super) struct Kernel {
    /// The pipeline it needs.
    pub(super) pipeline: PipelineKey,
    /// Its `Dimensions`, as words.
    pub(super) uniform: [u32; UNIFORM_WORDS],
    /// Threads that have something to do.
    pub(super) threads: usize,
}

/// A shader with its constants set. Operations of equal keys share a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PipelineKey {
    /// The name of the shader.
    pub(super) name: &'static str,
    /// Values of its `override` constants, but for the work-group size.
    pub(super) constants: Vec<(&'static str, bool)>,
    /// Whether each binding of group 1 may be written.
    pub(super) writable: Vec<bool>,
}

impl PipelineKey {
    /// The WGSL text, and nothing only if [`SHADERS`] lacks an operation, which a test refuses.
    pub(super) fn source(&self) -> &'static str {
        SHADERS
            .iter()
            .find(|(name, _)| *name == self.name)
            .map_or("", |(_, source)| source)
    }
}

/// The kernel of an operation of a checked plan.
pub(super) fn kernel(operation: &Operation) -> Kernel {
    let (constants, uniform, threads) = match operation {
        Operation::MatrixProduct(product) => matrix_product(product),
        Operation::ColumnSum { rows, columns, .. } => {
            (Vec::new(), vec![word(*rows), word(*columns)], *columns)
        }
        Operation::Relu { output, .. } => {
            (Vec::new(), vec![word(output.elements)], output.elements)
        }
        Operation::ReluBackward { input_gradient, .. } => {
            let elements = input_gradient.elements;
            (Vec::new(), vec![word(elements)], elements)
        }
        Operation::CrossEntropy {
            rows,
            classes,
            scale,
            ..
        } => (
            Vec::new(),
            vec![word(*rows), word(*classes), scale.to_bits()],
            *rows,
        ),
        Operation::Sgd {
            parameters,
            learning_rate,
            ..
        } => {
            let elements = parameters.elements;
            (
                Vec::new(),
                vec![word(elements), learning_rate.to_bits()],
                elements,
            )
        }
    };
    let writable = operation
        .operands()
        .iter()
        .map(|operand| operand.access.writes())
        .collect();
    let mut words = [0; UNIFORM_WORDS];
    words
        .iter_mut()
        .zip(uniform)
        .for_each(|(word, value)| *word = value);
    let pipeline = PipelineKey {
        name: operation.name(),
        constants,
        writable,
    };
    Kernel {
        pipeline,
        uniform: words,
        threads,
    }
}

/// Work-groups in x and y for so many threads, if a dimension holds at most `groups_max`; the shader unfolds them. The
/// last row may be partly idle.
pub(super) fn grid(threads: usize, groups_max: u32) -> (u32, u32) {
    let groups = word(threads).div_ceil(WORKGROUP).max(1);
    let y = groups.div_ceil(groups_max);
    (groups.div_ceil(y), y)
}

type Parts = (Vec<(&'static str, bool)>, Vec<u32>, usize);

fn matrix_product(product: &MatrixProduct) -> Parts {
    let constants = vec![
        ("TRANSPOSE_LEFT", product.transpose_left),
        ("TRANSPOSE_RIGHT", product.transpose_right),
        ("BIAS", product.bias.is_some()),
        ("ACCUMULATE", product.accumulate),
    ];
    let uniform = vec![
        word(product.rows),
        word(product.columns),
        word(product.inner),
    ];
    let threads = product.rows.div_ceil(TILE_ROWS) * product.columns.div_ceil(TILE_COLUMNS);
    (constants, uniform, threads)
}

/// A size as the shader counts it; a checked plan has none that needs more than 31 bits.
fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{BufferId, View};
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    use naga::{AddressSpace, Expression, Literal, Module, Override, StorageAccess, TypeInner};

    fn view(buffer: usize) -> View {
        View {
            buffer: BufferId(buffer),
            offset: 0,
            elements: 1,
        }
    }

    /// One of each operation; the match makes sure that a new one is added here.
    fn operations() -> Vec<Operation> {
        let product = MatrixProduct {
            left: view(0),
            right: view(1),
            bias: None,
            output: view(2),
            rows: 1,
            columns: 1,
            inner: 1,
            transpose_left: false,
            transpose_right: false,
            accumulate: false,
        };
        let [a, b, c, d] = [view(0), view(1), view(2), view(3)];
        let (rows, columns, classes, scale) = (1, 1, 1, 1.0);
        let all = vec![
            Operation::MatrixProduct(product),
            Operation::ColumnSum {
                input: a,
                output: b,
                rows,
                columns,
            },
            Operation::Relu {
                input: a,
                output: b,
            },
            Operation::ReluBackward {
                output: a,
                output_gradient: b,
                input_gradient: c,
            },
            Operation::CrossEntropy {
                logits: a,
                labels: b,
                gradient: c,
                losses: d,
                rows,
                classes,
                scale,
            },
            Operation::Sgd {
                parameters: a,
                gradients: b,
                learning_rate: 1.0,
            },
        ];
        for operation in &all {
            match operation {
                Operation::MatrixProduct(_)
                | Operation::ColumnSum { .. }
                | Operation::Relu { .. }
                | Operation::ReluBackward { .. }
                | Operation::CrossEntropy { .. }
                | Operation::Sgd { .. } => {}
            }
        }
        all
    }

    fn parse(name: &str, source: &str) -> Module {
        let module = naga::front::wgsl::parse_str(source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        validator
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        module
    }

    fn override_named<'a>(module: &'a Module, name: &str) -> Option<&'a Override> {
        module
            .overrides
            .iter()
            .map(|(_, value)| value)
            .find(|value| value.name.as_deref() == Some(name))
    }

    fn constant(module: &Module, name: &str) -> Option<usize> {
        let found = module
            .constants
            .iter()
            .find(|(_, value)| value.name.as_deref() == Some(name));
        match module.global_expressions[found?.1.init] {
            Expression::Literal(Literal::U32(value)) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    #[test]
    fn bindings_of_a_shader_are_the_operands_of_its_operation() {
        for operation in operations() {
            let key = kernel(&operation).pipeline;
            let module = parse(key.name, key.source());
            let mut storage: Vec<_> = module
                .global_variables
                .iter()
                .filter_map(|(_, variable)| match variable.space {
                    AddressSpace::Storage { access } => {
                        let binding = variable.binding.expect("a storage variable is bound");
                        assert_eq!(binding.group, 1, "{}", key.name);
                        Some((binding.binding, access.contains(StorageAccess::STORE)))
                    }
                    _ => None,
                })
                .collect();
            storage.sort_unstable();
            let expected: Vec<_> = (0..).zip(key.writable.iter().copied()).collect();
            assert_eq!(storage, expected, "{}", key.name);
        }
    }

    #[test]
    fn the_dimensions_of_a_shader_fit_their_block_and_are_all_given() {
        for operation in operations() {
            let Kernel {
                pipeline, uniform, ..
            } = kernel(&operation);
            let module = parse(pipeline.name, pipeline.source());
            let is_uniform =
                |variable: &&naga::GlobalVariable| variable.space == AddressSpace::Uniform;
            let variables: Vec<_> = module.global_variables.iter().map(|(_, v)| v).collect();
            let [dimensions] = *variables.into_iter().filter(is_uniform).collect::<Vec<_>>() else {
                panic!("{} has one uniform block", pipeline.name);
            };
            let TypeInner::Struct { members, span } = &module.types[dimensions.ty].inner else {
                panic!("the block of {} is a struct", pipeline.name);
            };
            assert!(*span as usize <= 4 * UNIFORM_WORDS, "{}", pipeline.name);
            let given = uniform.iter().filter(|word| **word != 0).count();
            assert_eq!(
                members.len(),
                given,
                "{}: sizes of one are not zero",
                pipeline.name
            );
        }
    }

    #[test]
    fn constants_that_are_set_exist_and_work_group_sizes_are_set_by_them() {
        for operation in operations() {
            let key = kernel(&operation).pipeline;
            let module = parse(key.name, key.source());
            let set = key
                .constants
                .iter()
                .map(|(name, _)| *name)
                .chain(["WORKGROUP"]);
            let set: std::collections::BTreeSet<_> = set.collect();
            let names = module
                .overrides
                .iter()
                .filter_map(|(_, value)| value.name.as_deref());
            assert_eq!(
                names.collect::<std::collections::BTreeSet<_>>(),
                set,
                "{}",
                key.name
            );
            assert!(override_named(&module, "WORKGROUP").is_some());
            let [entry] = module.entry_points.as_slice() else {
                panic!("{} has one entry", key.name)
            };
            assert_eq!(entry.name, "main");
            let sizes = entry
                .workgroup_size_overrides
                .expect("the size is an override constant");
            let x = sizes[0].expect("x is an override constant");
            let Expression::Override(handle) = module.global_expressions[x] else {
                panic!("x of {} is WORKGROUP itself", key.name);
            };
            assert_eq!(module.overrides[handle].name.as_deref(), Some("WORKGROUP"));
            assert_eq!(sizes[1..], [None, None]);
            assert_eq!(entry.workgroup_size[1..], [1, 1]);
        }
    }

    #[test]
    fn numbers_that_rust_and_a_shader_both_know_are_the_same() {
        let module = |name| {
            let found = SHADERS.iter().find(|(shader, _)| *shader == name);
            parse(name, found.expect("it is there").1)
        };
        let ignored = constant(&module("cross_entropy"), "IGNORED_LABEL");
        assert_eq!(ignored, Some(crate::IGNORED_LABEL as usize));
        let module = module("matrix_product");
        assert_eq!(constant(&module, "TILE_ROWS"), Some(TILE_ROWS));
        assert_eq!(constant(&module, "TILE_COLUMNS"), Some(TILE_COLUMNS));
    }

    #[test]
    fn the_grid_has_a_thread_for_everything_and_no_dimension_is_too_long() {
        for threads in [0, 1, 64, 65, 65_535 * 64, 65_535 * 64 + 1, 1 << 31] {
            let (x, y) = grid(threads, 65_535);
            assert!(
                x >= 1 && y >= 1 && x <= 65_535 && y <= 65_535,
                "{threads}: {x} x {y}"
            );
            assert!(u64::from(x) * u64::from(y) * u64::from(WORKGROUP) >= threads as u64);
        }
        assert_eq!(grid(65, 65_535), (2, 1));
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn every_file_among_the_shaders_is_valid_and_belongs_to_an_operation() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shaders");
        let used: Vec<_> = operations()
            .iter()
            .map(|operation| operation.name())
            .collect();
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("shaders are there") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_none_or(|extension| extension != "wgsl") {
                continue;
            }
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name")
                .to_owned();
            parse(&name, &std::fs::read_to_string(&path).expect("readable"));
            assert!(
                used.contains(&name.as_str()),
                "{name} belongs to no operation"
            );
            files += 1;
        }
        assert_eq!((files, SHADERS.len()), (used.len(), used.len()));
    }
}
