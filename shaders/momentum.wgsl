// With g = scale * gradients: velocity = keep * velocity + g; parameters -= learning_rate * velocity, or, looking ahead,
// learning_rate * (g + keep * velocity); gradients = 0.

override WORKGROUP: u32 = 64;
override NESTEROV: bool = false;

struct Dimensions {
    elements: u32,
    keep: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> coefficients: array<f32>; // scale, learning_rate
@group(1) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read_write> gradients: array<vec4<f32>>;
@group(1) @binding(3) var<storage, read_write> velocity: array<vec4<f32>>;

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
    let scaled = coefficients[0] * gradients[index];
    let kept = dimensions.keep * velocity[index] + scaled;
    velocity[index] = kept;
    let step = select(kept, scaled + dimensions.keep * kept, NESTEROV);
    parameters[index] -= coefficients[1] * step;
    gradients[index] = vec4<f32>();
}
