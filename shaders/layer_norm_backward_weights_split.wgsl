// As layer_norm_backward_weights. A work-group takes 8 columns, and 8 threads share the rows of each.

override WORKGROUP: u32 = 64;

const COLUMNS: u32 = 8;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read> moments: array<f32>; // (R, 2)
@group(1) @binding(2) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(3) var<storage, read_write> weight_gradient: array<f32>;

var<workgroup> parts: array<f32, WORKGROUP>;

// The sum over the threads of a column, in the first of them.
fn total(local: u32, own: f32) -> f32 {
    parts[local] = own;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = local % COLUMNS; i < WORKGROUP; i += COLUMNS) {
        sum += parts[i];
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * COLUMNS + local % COLUMNS;
    let column = min(index, dimensions.columns - 1);
    var own = 0.0;
    for (var r = local / COLUMNS; r < dimensions.rows; r += WORKGROUP / COLUMNS) {
        let at = r * dimensions.columns + column;
        own += output_gradient[at] * ((input[at] - moments[2 * r]) * moments[2 * r + 1]);
    }
    let sum = total(local, own);
    if local < COLUMNS && index < dimensions.columns {
        weight_gradient[index] += sum;
    }
}
