// output (R, C) = weight (C) (input (R, C) - mean) inverse deviation + bias (C); moments (R, 2) = mean, inverse deviation. One
// thread a row.

override WORKGROUP: u32 = 64;

// Added to a variance, as PyTorch does.
const EPSILON: f32 = 1e-5;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read_write> output: array<f32>;
@group(1) @binding(4) var<storage, read_write> moments: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.rows {
        return;
    }
    let start = index * dimensions.columns;
    let count = f32(dimensions.columns);
    var sum = 0.0;
    for (var c = 0u; c < dimensions.columns; c++) {
        sum += input[start + c];
    }
    let mean = sum / count;
    var squares = 0.0;
    for (var c = 0u; c < dimensions.columns; c++) {
        let difference = input[start + c] - mean;
        squares += difference * difference;
    }
    let inverse = 1.0 / sqrt(squares / count + EPSILON);
    for (var c = 0u; c < dimensions.columns; c++) {
        output[start + c] = (input[start + c] - mean) * inverse * weight[c] + bias[c];
    }
    moments[2 * index] = mean;
    moments[2 * index + 1] = inverse;
}
