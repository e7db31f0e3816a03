// parameters -= learning_rate * scale * gradients; gradients = 0.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> coefficients: array<f32>; // scale, learning_rate
@group(1) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read_write> gradients: array<vec4<f32>>;

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
    parameters[index] -= coefficients[1] * (coefficients[0] * gradients[index]);
    gradients[index] = vec4<f32>();
}
