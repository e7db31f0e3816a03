// output = input where it is above zero, else zero. A NaN stays one, so that divergence reaches the loss.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if 4 * index >= dimensions.elements {
        return;
    }
    output[index] = select(input[index], vec4<f32>(), input[index] <= vec4<f32>());
}
