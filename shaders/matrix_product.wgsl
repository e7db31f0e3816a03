// output (M, N) = op(left) (M, K) op(right) (K, N) + bias (N), or output += op(left) op(right).
//
// One thread computes a tile of 4 x 4 outputs in registers; neither work-group memory nor barriers, which are slow on
// software adapters and phones. Loads past an edge repeat the last row or column, and their sums are not stored.

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

fn store(row: u32, column: u32, sums: vec4<f32>) {
    if row >= dimensions.rows {
        return;
    }
    for (var j = 0u; j < TILE_COLUMNS && column + j < dimensions.columns; j++) {
        let index = row * dimensions.columns + column + j;
        var sum = sums[j];
        if BIAS {
            sum += bias[column + j];
        }
        if ACCUMULATE {
            sum += output[index];
        }
        output[index] = sum;
    }
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
    let step = vec4(0u, 1u, 2u, 3u);
    let tile_rows = min(row + step, vec4(dimensions.rows - 1));
    let tile_columns = min(column + step, vec4(dimensions.columns - 1));
    let left_stride = select(1u, dimensions.rows, TRANSPOSE_LEFT);
    let right_stride = select(dimensions.columns, 1u, TRANSPOSE_RIGHT);
    var left_at = tile_rows * select(dimensions.inner, 1u, TRANSPOSE_LEFT);
    var right_at = tile_columns * select(1u, dimensions.inner, TRANSPOSE_RIGHT);
    var row_0 = vec4<f32>();
    var row_1 = vec4<f32>();
    var row_2 = vec4<f32>();
    var row_3 = vec4<f32>();
    for (var k = 0u; k < dimensions.inner; k++) {
        let values = vec4(right[right_at.x], right[right_at.y], right[right_at.z], right[right_at.w]);
        row_0 += left[left_at.x] * values;
        row_1 += left[left_at.y] * values;
        row_2 += left[left_at.z] * values;
        row_3 += left[left_at.w] * values;
        left_at += left_stride;
        right_at += right_stride;
    }
    store(row, column, row_0);
    store(row + 1, column, row_1);
    store(row + 2, column, row_2);
    store(row + 3, column, row_3);
}
