// weight_gradient (C) += the sum over rows of output_gradient (R, C) times the normalised input. One thread a column.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read> moments: array<f32>; // (R, 2)
@group(1) @binding(2) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(3) var<storage, read_write> weight_gradient: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.columns {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < dimensions.rows; r++) {
        let at = r * dimensions.columns + index;
        sum += output_gradient[at] * ((input[at] - moments[2 * r]) * moments[2 * r + 1]);
    }
    weight_gradient[index] += sum;
}
