// With g = scale * gradients: mean = beta1 mean + (1 - beta1) g; square = beta2 square + (1 - beta2) g²; parameters = keep *
// parameters - (now g + past mean) / (sqrt(square) / root + epsilon); gradients = 0.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> coefficients: array<f32>; // scale, keep, now, past, root
@group(1) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read_write> gradients: array<vec4<f32>>;
@group(1) @binding(3) var<storage, read_write> mean: array<vec4<f32>>;
@group(1) @binding(4) var<storage, read_write> square: array<vec4<f32>>;

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
    let first = dimensions.beta1 * mean[index] + (1.0 - dimensions.beta1) * scaled;
    let second = dimensions.beta2 * square[index] + (1.0 - dimensions.beta2) * (scaled * scaled);
    mean[index] = first;
    square[index] = second;
    let step = (coefficients[2] * scaled + coefficients[3] * first)
        / (sqrt(second) / coefficients[4] + dimensions.epsilon);
    parameters[index] = coefficients[1] * parameters[index] - step;
    gradients[index] = vec4<f32>();
}
