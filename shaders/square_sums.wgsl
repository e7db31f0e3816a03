// sums[i] = the sum of the squares of every S-th number of the input from the i-th on. One thread a sum.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
    sums: u32, // S
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read_write> sums: array<f32>; // (S)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.sums {
        return;
    }
    var sum = 0.0;
    for (var i = index; i < dimensions.elements; i += dimensions.sums) {
        sum += input[i] * input[i];
    }
    sums[index] = sum;
}
