// output (R, D) = table (V, D)[tokens (R)] + positions (T, D), over and over. One thread a number.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,   // R
    length: u32, // T
    width: u32,  // D
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> table: array<f32>;
@group(1) @binding(2) var<storage, read> positions: array<f32>;
@group(1) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let row = index / dimensions.width;
    let column = index % dimensions.width;
    if row >= dimensions.rows {
        return;
    }
    let position = row % dimensions.length;
    output[index] = table[tokens[row] * dimensions.width + column] + positions[position * dimensions.width + column];
}
