// As layer_norm. A work-group takes a row, and its threads share the columns.

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
    let columns = select(0, dimensions.columns, index < dimensions.rows);
    let start = index * dimensions.columns;
    let count = f32(dimensions.columns);
    var sum = 0.0;
    for (var c = local; c < columns; c += WORKGROUP) {
        sum += input[start + c];
    }
    let mean = total(local, sum) / count;
    var squares = 0.0;
    for (var c = local; c < columns; c += WORKGROUP) {
        let difference = input[start + c] - mean;
        squares += difference * difference;
    }
    let inverse = 1.0 / sqrt(total(local, squares) / count + EPSILON);
    for (var c = local; c < columns; c += WORKGROUP) {
        output[start + c] = (input[start + c] - mean) * inverse * weight[c] + bias[c];
    }
    if local == 0 && index < dimensions.rows {
        moments[2 * index] = mean;
        moments[2 * index + 1] = inverse;
    }
}
