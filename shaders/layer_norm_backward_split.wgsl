// As layer_norm_backward. A work-group takes a row, and its threads share the columns.

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

var<workgroup> parts: array<f32, WORKGROUP>;

// The sum of what all threads of the group have.
fn total(local: u32, own: f32) -> f32 {
    parts[local] = own;
    workgroupBarrier();
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.y * groups.x + group.x;
    let row = min(index, dimensions.rows - 1);
    let columns = select(0, dimensions.columns, index < dimensions.rows);
    let start = row * dimensions.columns;
    let count = f32(dimensions.columns);
    let mean = moments[2 * row];
    let inverse = moments[2 * row + 1];
    var own_g = 0.0;
    var own_gx = 0.0;
    for (var c = local; c < columns; c += WORKGROUP) {
        let g = output_gradient[start + c] * weight[c];
        own_g += g;
        own_gx += g * ((input[start + c] - mean) * inverse);
    }
    let mean_g = total(local, own_g) / count;
    let mean_gx = total(local, own_gx) / count;
    for (var c = local; c < columns; c += WORKGROUP) {
        let g = output_gradient[start + c] * weight[c];
        let x = (input[start + c] - mean) * inverse;
        input_gradient[start + c] = inverse * (g - mean_g - x * mean_gx);
    }
}
