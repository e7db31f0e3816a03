// As matrix_product_wide, with 16 x 16 outputs a thread, for GPUs that are emulated in software: there a load costs more than what is
// made of it, and registers are memory anyway.

override WORKGROUP: u32 = 64;
override TRANSPOSE_LEFT: bool = false;
override TRANSPOSE_RIGHT: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;

const TILE_ROWS: u32 = 16;
const TILE_COLUMNS: u32 = 16;

struct Dimensions {
    rows: u32,    // M
    columns: u32, // N
    inner: u32,   // K
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> left: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read> right: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(1) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

// Four rows of op(left) from `row` on, at k to k + 3: of each row a column.
fn left_block(row: u32, k: u32) -> mat4x4<f32> {
    if TRANSPOSE_LEFT {
        let stride = dimensions.rows / 4;
        let at = k * stride + min(row / 4, stride - 1);
        return transpose(mat4x4(left[at], left[at + stride], left[at + 2 * stride], left[at + 3 * stride]));
    }
    let stride = dimensions.inner / 4;
    let at = min(vec4(row, row + 1, row + 2, row + 3), vec4(dimensions.rows - 1)) * stride + k / 4;
    return mat4x4(left[at.x], left[at.y], left[at.z], left[at.w]);
}

// Four columns of op(right) from `column` on, at k to k + 3: of each k a column of the block.
fn right_block(column: u32, k: u32) -> mat4x4<f32> {
    if TRANSPOSE_RIGHT {
        let stride = dimensions.inner / 4;
        let end = dimensions.columns - 1;
        let at = min(vec4(column, column + 1, column + 2, column + 3), vec4(end)) * stride + k / 4;
        return transpose(mat4x4(right[at.x], right[at.y], right[at.z], right[at.w]));
    }
    let stride = dimensions.columns / 4;
    let at = k * stride + min(column / 4, stride - 1);
    return mat4x4(right[at], right[at + stride], right[at + 2 * stride], right[at + 3 * stride]);
}

fn store(row: u32, column: u32, sums: mat4x4<f32>) {
    store_row(row, column, sums[0]);
    store_row(row + 1, column, sums[1]);
    store_row(row + 2, column, sums[2]);
    store_row(row + 3, column, sums[3]);
}

fn store_row(row: u32, column: u32, sums: vec4<f32>) {
    if row >= dimensions.rows || column >= dimensions.columns {
        return;
    }
    let index = (row * dimensions.columns + column) / 4;
    var sum = sums;
    if BIAS {
        sum += bias[column / 4];
    }
    if ACCUMULATE {
        sum += output[index];
    }
    output[index] = sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let tiles = (dimensions.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let row = index / tiles * TILE_ROWS;
    let column = index % tiles * TILE_COLUMNS;
    if row >= dimensions.rows {
        return;
    }
    var sums_00 = mat4x4<f32>();
    var sums_01 = mat4x4<f32>();
    var sums_02 = mat4x4<f32>();
    var sums_03 = mat4x4<f32>();
    var sums_10 = mat4x4<f32>();
    var sums_11 = mat4x4<f32>();
    var sums_12 = mat4x4<f32>();
    var sums_13 = mat4x4<f32>();
    var sums_20 = mat4x4<f32>();
    var sums_21 = mat4x4<f32>();
    var sums_22 = mat4x4<f32>();
    var sums_23 = mat4x4<f32>();
    var sums_30 = mat4x4<f32>();
    var sums_31 = mat4x4<f32>();
    var sums_32 = mat4x4<f32>();
    var sums_33 = mat4x4<f32>();
    for (var k = 0u; k < dimensions.inner; k += 4) {
        let left_0 = left_block(row + 0, k);
        let left_1 = left_block(row + 4, k);
        let left_2 = left_block(row + 8, k);
        let left_3 = left_block(row + 12, k);
        let right_0 = right_block(column + 0, k);
        let right_1 = right_block(column + 4, k);
        let right_2 = right_block(column + 8, k);
        let right_3 = right_block(column + 12, k);
        sums_00 += right_0 * left_0;
        sums_01 += right_1 * left_0;
        sums_02 += right_2 * left_0;
        sums_03 += right_3 * left_0;
        sums_10 += right_0 * left_1;
        sums_11 += right_1 * left_1;
        sums_12 += right_2 * left_1;
        sums_13 += right_3 * left_1;
        sums_20 += right_0 * left_2;
        sums_21 += right_1 * left_2;
        sums_22 += right_2 * left_2;
        sums_23 += right_3 * left_2;
        sums_30 += right_0 * left_3;
        sums_31 += right_1 * left_3;
        sums_32 += right_2 * left_3;
        sums_33 += right_3 * left_3;
    }
    store(row + 0, column + 0, sums_00);
    store(row + 0, column + 4, sums_01);
    store(row + 0, column + 8, sums_02);
    store(row + 0, column + 12, sums_03);
    store(row + 4, column + 0, sums_10);
    store(row + 4, column + 4, sums_11);
    store(row + 4, column + 8, sums_12);
    store(row + 4, column + 12, sums_13);
    store(row + 8, column + 0, sums_20);
    store(row + 8, column + 4, sums_21);
    store(row + 8, column + 8, sums_22);
    store(row + 8, column + 12, sums_23);
    store(row + 12, column + 0, sums_30);
    store(row + 12, column + 4, sums_31);
    store(row + 12, column + 8, sums_32);
    store(row + 12, column + 12, sums_33);
}
