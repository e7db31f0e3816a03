//! Kernels: pipelines and grids of operations.

use crate::operation::{GROUP_THREADS, Operation, Variant, word};

/// Threads of a work-group.
pub(super) const WORKGROUP: u32 = GROUP_THREADS as u32;

/// The most words of an operation's uniform block.
pub(super) const UNIFORM_WORDS: usize = 16;

/// A shader with its constants set. Operations of equal keys share a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PipelineKey {
    /// The name of the shader.
    pub(super) name: &'static str,
    /// Its text.
    pub(super) source: &'static str,
    /// Values of its `override` constants, but for the work-group size.
    pub(super) constants: Vec<(&'static str, u32)>,
    /// Whether each binding of group 1 may be written.
    pub(super) writable: Vec<bool>,
}

impl PipelineKey {
    /// What an operation needs with one of its shaders.
    pub(super) fn of(operation: &Operation, variant: Variant) -> Self {
        let kernel = operation.kernel();
        let operands = operation.operands().iter();
        Self {
            name: variant.name,
            source: variant.source,
            constants: kernel.constants.clone(),
            writable: operands.map(|operand| operand.access.writes()).collect(),
        }
    }
}

/// The uniform block of an operation.
pub(super) fn uniform(operation: &Operation) -> [u32; UNIFORM_WORDS] {
    let mut words = [0; UNIFORM_WORDS];
    let given = &operation.kernel().dimensions;
    assert!(
        given.len() <= UNIFORM_WORDS,
        "a test counts the dimensions of every kernel"
    );
    words[..given.len()].copy_from_slice(given);
    words
}

/// Work-groups in x and y for so many threads, if a dimension holds at most `groups_max`; the shader unfolds them. The
/// last row may be partly idle.
pub(super) fn grid(threads: usize, groups_max: u32) -> (u32, u32) {
    let groups = word(threads).div_ceil(WORKGROUP).max(1);
    let y = groups.div_ceil(groups_max);
    (groups.div_ceil(y), y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::causal_attention::HEAD_WIDTH_MAX;
    use crate::layers::conv2d::{LONG_TILE_COLUMNS, WIDE_TILE_ROWS};
    use crate::layers::dropout::Dropout;
    use crate::loss::LossSpec;
    use crate::model::{ModelSpec, PRESETS};
    use crate::operations::{
        GROUP_COLUMNS, GROUP_TILE, TILE_COLUMNS, TILE_ROWS, WIDE_TILE, WIDEST_TILE,
    };
    use crate::optimizer::{AdamSettings, OptimizerSpec, Rule};
    use crate::packing::Packing;
    use crate::recording::Arithmetic;
    use crate::stage::{StageConfig, operations_of};
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    use naga::{AddressSpace, Expression, Literal, Module, Override, StorageAccess, TypeInner};
    use std::collections::BTreeMap;

    /// One of each kind of operation and shader, by name and constants, as the presets and all optimizers record them.
    fn operations() -> BTreeMap<PipelineKey, Operation> {
        let adam = AdamSettings::default();
        let rules = [
            Rule::Sgd {},
            Rule::Nesterov { momentum: 0.5 },
            Rule::Adam(adam),
        ];
        let mut all = BTreeMap::new();
        for model in PRESETS
            .iter()
            .map(|preset| (preset.model)(5))
            .chain(others())
        {
            for rule in rules {
                let config = whole(model.clone(), OptimizerSpec::new(rule, 0.1));
                let operations = operations_of(&config).expect("a preset can be planned");
                operations.into_iter().for_each(|one| add(&mut all, one));
            }
        }
        for packing in [Packing::F16, Packing::Int8] {
            let middle = StageConfig {
                layers: 1..2,
                input_packing: packing,
                output_packing: packing,
                ..whole(
                    ModelSpec::preset("mlp").expect("a preset"),
                    OptimizerSpec::sgd(0.1),
                )
            };
            let operations = operations_of(&middle).expect("a stage can be planned");
            operations.into_iter().for_each(|one| add(&mut all, one));
        }
        all
    }

    fn add(all: &mut BTreeMap<PipelineKey, Operation>, operation: Operation) {
        for variant in operation.variants() {
            all.insert(PipelineKey::of(&operation, variant), operation.clone());
        }
    }

    fn whole(model: ModelSpec, optimizer: OptimizerSpec) -> StageConfig {
        StageConfig {
            layers: 0..model.layers.len(),
            model,
            micro_batch: 1,
            batch: 1,
            slots: 1,
            versions: 1,
            seed: 0,
            optimizer,
            input_packing: Packing::F32,
            output_packing: Packing::F32,
            arithmetic: Arithmetic::default(),
        }
    }

    /// Models with the layers that no preset has.
    fn others() -> Vec<ModelSpec> {
        let layers = vec![Dropout { probability: 0.5 }.into()];
        let mut model = ModelSpec::new(vec![2], layers);
        model.loss = LossSpec::MeanSquaredError;
        vec![model]
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
        for key in operations().into_keys() {
            let module = parse(key.name, key.source);
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
        for (key, operation) in operations() {
            let (name, given) = (key.name, &operation.kernel().dimensions);
            let module = parse(name, key.source);
            let is_uniform =
                |variable: &&naga::GlobalVariable| variable.space == AddressSpace::Uniform;
            let variables: Vec<_> = module.global_variables.iter().map(|(_, v)| v).collect();
            let [dimensions] = *variables.into_iter().filter(is_uniform).collect::<Vec<_>>() else {
                panic!("{name} has one uniform block");
            };
            let TypeInner::Struct { members, span } = &module.types[dimensions.ty].inner else {
                panic!("the block of {name} is a struct");
            };
            assert!(*span as usize <= 4 * UNIFORM_WORDS, "{name}");
            assert_eq!(members.len(), given.len(), "{name}");
        }
    }

    #[test]
    fn constants_that_are_set_exist_and_work_group_sizes_are_set_by_them() {
        for key in operations().into_keys() {
            let module = parse(key.name, key.source);
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
        let all = operations();
        let module = |name| {
            let found = all.keys().find(|key| key.name == name);
            parse(name, found.expect("it is there").source)
        };
        let ignored = constant(&module("cross_entropy"), "IGNORED_LABEL");
        assert_eq!(ignored, Some(crate::IGNORED_LABEL as usize));
        for name in ["TILE_ROWS", "TILE_COLUMNS"] {
            let wide = constant(&module("matrix_product_wide"), name);
            let widest = constant(&module("matrix_product_widest"), name);
            assert_eq!(
                (wide, widest),
                (Some(WIDE_TILE), Some(WIDEST_TILE)),
                "{name}"
            );
        }
        let tiled = module("matrix_product_tiled");
        assert_eq!(constant(&tiled, "TILE"), Some(GROUP_TILE));
        assert_eq!(constant(&tiled, "THREADS"), Some(GROUP_THREADS));
        let tiled = [
            "matrix_product",
            "matrix_product_split",
            "conv2d",
            "conv2d_backward_input",
            "conv2d_backward_weights",
            "conv2d_backward_weights_split",
        ];
        for name in tiled {
            let module = module(name);
            assert_eq!(constant(&module, "TILE_ROWS"), Some(TILE_ROWS), "{name}");
            let columns = constant(&module, "TILE_COLUMNS");
            assert_eq!(columns, Some(TILE_COLUMNS), "{name}");
        }
        for name in ["conv2d_3x3", "conv2d_backward_input_3x3"] {
            let columns = constant(&module(name), "TILE_COLUMNS");
            assert_eq!(columns, Some(LONG_TILE_COLUMNS), "{name}");
        }
        let moving = [
            "conv2d_3x3",
            "conv2d_backward_input_3x3",
            "conv2d_backward_weights_3x3",
        ];
        for name in moving {
            let rows = constant(&module(name), "TILE_ROWS");
            assert_eq!(rows, Some(TILE_ROWS), "{name}");
        }
        for name in ["conv2d_wide", "conv2d_backward_input_wide"] {
            let rows = constant(&module(name), "TILE_ROWS");
            assert_eq!(rows, Some(WIDE_TILE_ROWS), "{name}");
        }
        for name in ["column_sum_split", "layer_norm_backward_weights_split"] {
            let columns = constant(&module(name), "COLUMNS");
            assert_eq!(columns, Some(GROUP_COLUMNS), "{name}");
        }
        let heads = [
            "attention",
            "attention_backward_queries",
            "attention_backward_keys_values",
            "attention_wide",
            "attention_backward_queries_wide",
            "attention_backward_keys_values_wide",
        ];
        for name in heads {
            let width = constant(&module(name), "HEAD_WIDTH_MAX");
            assert_eq!(width, Some(HEAD_WIDTH_MAX), "{name}");
        }
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
        let used: std::collections::BTreeSet<_> = operations().keys().map(|key| key.name).collect();
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
                used.contains(name.as_str()),
                "{name} belongs to no operation"
            );
            files += 1;
        }
        assert_eq!(files, used.len());
    }
}
