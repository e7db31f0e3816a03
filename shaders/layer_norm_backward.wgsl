// With x the normalised input and g = weight * output_gradient: input_gradient (R, C) = inverse deviation (g - mean(g) - x
// mean(g x)), means over the row. One thread a row.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read> moments: array<f32>; // (R, 2)
@group(1) @binding(2) var<storage, read> weight: array<f32>;
@group(1) @binding(3) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(4) var<storage, read_write> input_gradient: array<f32>;

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
    let mean = moments[2 * index];
    let inverse = moments[2 * index + 1];
    var sum_g = 0.0;
    var sum_gx = 0.0;
    for (var c = 0u; c < dimensions.columns; c++) {
        let g = output_gradient[start + c] * weight[c];
        sum_g += g;
        sum_gx += g * ((input[start + c] - mean) * inverse);
    }
    for (var c = 0u; c < dimensions.columns; c++) {
        let g = output_gradient[start + c] * weight[c];
        let x = (input[start + c] - mean) * inverse;
        input_gradient[start + c] = inverse * (g - sum_g / count - x * (sum_gx / count));
    }
}
