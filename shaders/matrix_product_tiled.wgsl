// As matrix_product. A work-group computes 64 x 64 outputs, a thread 8 x 8 of them in registers: four blocks of 4 x 4 at a distance of
// half a tile, so that neighbours read neighbouring numbers. Of K, so many products at a time are staged in work-group memory.

override WORKGROUP: u32 = 64; // 8 x 8 threads, whatever is set
override TRANSPOSE_LEFT: bool = false;
override TRANSPOSE_RIGHT: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;

const TILE: u32 = 64;
const DEPTH: u32 = 16;
const THREADS: u32 = 64;
const SIDE: u32 = 8;
const BLOCKS: u32 = 16; // of 4 numbers, in a row of a tile

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

// (DEPTH, TILE) of op(left), transposed, and of op(right); zero past the edges.
var<workgroup> left_tile: array<vec4<f32>, DEPTH * BLOCKS>;
var<workgroup> right_tile: array<vec4<f32>, DEPTH * BLOCKS>;

fn left_at(row: u32, k: u32) -> f32 {
    if row >= dimensions.rows || k >= dimensions.inner {
        return 0.0;
    }
    return left[select(row * dimensions.inner + k, k * dimensions.rows + row, TRANSPOSE_LEFT)];
}

fn right_at(k: u32, column: u32) -> f32 {
    if column >= dimensions.columns || k >= dimensions.inner {
        return 0.0;
    }
    return right[select(k * dimensions.columns + column, column * dimensions.inner + k, TRANSPOSE_RIGHT)];
}

// Where the i-th block of a tile lies: its place in K and its first row or column. Threads that follow each other read what lies
// together in memory.
fn block(i: u32, along_k: bool) -> vec2<u32> {
    return select(vec2(i / BLOCKS, i % BLOCKS), vec2(i % DEPTH, i / DEPTH), along_k);
}

fn stage(row: u32, column: u32, k: u32, local: u32) {
    for (var i = local; i < DEPTH * BLOCKS; i += THREADS) {
        let to_left = block(i, !TRANSPOSE_LEFT);
        let r = row + 4 * to_left.y;
        let at = k + to_left.x;
        left_tile[to_left.x * BLOCKS + to_left.y] =
            vec4(left_at(r, at), left_at(r + 1, at), left_at(r + 2, at), left_at(r + 3, at));
    }
    for (var i = local; i < DEPTH * BLOCKS; i += THREADS) {
        let to_right = block(i, TRANSPOSE_RIGHT);
        let c = column + 4 * to_right.y;
        let at = k + to_right.x;
        right_tile[to_right.x * BLOCKS + to_right.y] =
            vec4(right_at(at, c), right_at(at, c + 1), right_at(at, c + 2), right_at(at, c + 3));
    }
}

fn outer(rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

fn store(row: u32, column: u32, sums: mat4x4<f32>) {
    store_row(row, column, sums[0]);
    store_row(row + 1, column, sums[1]);
    store_row(row + 2, column, sums[2]);
    store_row(row + 3, column, sums[3]);
}

fn store_row(row: u32, column: u32, sums: vec4<f32>) {
    if row >= dimensions.rows {
        return;
    }
    for (var j = 0u; j < 4 && column + j < dimensions.columns; j++) {
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
    let index = group.y * groups.x + group.x;
    let tiles = (dimensions.columns + TILE - 1) / TILE;
    let row = index / tiles * TILE;
    let column = index % tiles * TILE;
    let own_row = local / SIDE;
    let own_column = local % SIDE;
    var sums_00 = mat4x4<f32>();
    var sums_01 = mat4x4<f32>();
    var sums_10 = mat4x4<f32>();
    var sums_11 = mat4x4<f32>();
    for (var k = 0u; k < dimensions.inner; k += DEPTH) {
        stage(row, column, k, local);
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let left_0 = left_tile[i * BLOCKS + own_row];
            let left_1 = left_tile[i * BLOCKS + own_row + SIDE];
            let right_0 = right_tile[i * BLOCKS + own_column];
            let right_1 = right_tile[i * BLOCKS + own_column + SIDE];
            sums_00 += outer(left_0, right_0);
            sums_01 += outer(left_0, right_1);
            sums_10 += outer(left_1, right_0);
            sums_11 += outer(left_1, right_1);
        }
        workgroupBarrier();
    }
    let top = row + 4 * own_row;
    let start = column + 4 * own_column;
    store(top, start, sums_00);
    store(top, start + TILE / 2, sums_01);
    store(top + TILE / 2, start, sums_10);
    store(top + TILE / 2, start + TILE / 2, sums_11);
}
