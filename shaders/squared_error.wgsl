// For each row of output (R, C): its loss = mean((output - target)²); gradient = 2 (output - target) / C * scale. One thread a row.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,    // R
    columns: u32, // C
    scale: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> output: array<f32>;
@group(1) @binding(1) var<storage, read> targets: array<f32>;
@group(1) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(1) @binding(3) var<storage, read_write> losses: array<f32>; // (R, 2): the loss, and 0

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
        let difference = output[start + c] - targets[start + c];
        sum += difference * difference;
        gradient[start + c] = 2.0 * difference / count * dimensions.scale;
    }
    losses[2 * index] = sum / count;
    losses[2 * index + 1] = 0.0;
}
