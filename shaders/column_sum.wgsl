// output (C) += the sum over the rows of input (R, C). One thread a column.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = (group.y * groups.x + group.x) * WORKGROUP + local;
    if column >= dimensions.columns {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < dimensions.rows; row++) {
        sum += input[row * dimensions.columns + column];
    }
    output[column] += sum;
}
