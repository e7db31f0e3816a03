// output = 0 or input * scale, by a hash of key, step, sample and place in the sample; output = input where nothing is to be left
// out. One thread a number.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
    sample: u32, // numbers of one
    scale: f32,
    key: u32,
    threshold: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> position: array<u32>; // 1 for training, step, first sample, 0
@group(1) @binding(1) var<storage, read> input: array<f32>;
@group(1) @binding(2) var<storage, read_write> output: array<f32>;

// Jarzynski and Olano, "Hash functions for GPU rendering", 2020.
fn pcg4d(words: vec4<u32>) -> vec4<u32> {
    var v = words * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.elements {
        return;
    }
    if position[0] == 0 {
        output[index] = input[index];
        return;
    }
    let sample = position[2] + index / dimensions.sample;
    let words = vec4(dimensions.key, position[1], sample, index % dimensions.sample);
    let stays = pcg4d(words).x >= dimensions.threshold;
    output[index] = select(0.0, input[index] * dimensions.scale, stays);
}
