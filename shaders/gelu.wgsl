// output = input / (1 + exp(-2u)), with u = sqrt(2/π) (input + 0.044715 input³).

override WORKGROUP: u32 = 64;

const ROOT: f32 = 0.7978846; // of 2/π
const CUBIC: f32 = 0.044715;

struct Dimensions {
    elements: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// exp(-2u), with u = sqrt(2/π) (x + 0.044715 x³); held where it neither overflows nor matters any more.
fn decay(x: vec4<f32>) -> vec4<f32> {
    return exp(clamp(-2.0 * ROOT * (x + CUBIC * x * x * x), vec4(-80.0), vec4(80.0)));
}

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
    let x = input[index];
    output[index] = x / (1.0 + decay(x));
}
