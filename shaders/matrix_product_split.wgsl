// As matrix_product, for outputs that are small beside K, which would keep few threads busy: a work-group computes 4 x 4 outputs, each
// of its threads with its own part of K, and adds the parts up.

override WORKGROUP: u32 = 64;
override TRANSPOSE_LEFT: bool = false;
override TRANSPOSE_RIGHT: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;

const TILE_ROWS: u32 = 4;
const TILE_COLUMNS: u32 = 4;

struct Dimensions {
    rows: u32,    // M
    columns: u32, // N
    inner: u32,   // K
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> left: array<f32>;
@group(1) @binding(1) var<storage, read> right: array<f32>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read_write> output: array<f32>;

var<workgroup> parts: array<mat4x4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.y * groups.x + group.x;
    let tiles = (dimensions.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let row = index / tiles * TILE_ROWS;
    let column = index % tiles * TILE_COLUMNS;
    let step = vec4(0u, 1u, 2u, 3u);
    let tile_rows = min(row + step, vec4(dimensions.rows - 1));
    let tile_columns = min(column + step, vec4(dimensions.columns - 1));
    let left_stride = select(1u, dimensions.rows, TRANSPOSE_LEFT);
    let right_stride = select(dimensions.columns, 1u, TRANSPOSE_RIGHT);
    let left_start = tile_rows * select(dimensions.inner, 1u, TRANSPOSE_LEFT);
    let right_start = tile_columns * select(1u, dimensions.inner, TRANSPOSE_RIGHT);
    var sums = mat4x4<f32>();
    for (var k = local; k < dimensions.inner; k += WORKGROUP) {
        let a = left_start + k * left_stride;
        let b = right_start + k * right_stride;
        let values = vec4(right[b.x], right[b.y], right[b.z], right[b.w]);
        sums += mat4x4(left[a.x] * values, left[a.y] * values, left[a.z] * values, left[a.w] * values);
    }
    parts[local] = sums;
    workgroupBarrier();
    // One thread an output.
    let i = local / TILE_COLUMNS;
    let j = local % TILE_COLUMNS;
    if i >= TILE_ROWS || row + i >= dimensions.rows || column + j >= dimensions.columns {
        return;
    }
    var sum = 0.0;
    for (var part = 0u; part < WORKGROUP; part++) {
        sum += parts[part][i][j];
    }
    let at = (row + i) * dimensions.columns + column + j;
    if BIAS {
        sum += bias[column + j];
    }
    if ACCUMULATE {
        sum += output[at];
    }
    output[at] = sum;
}
