// products (N, H, T) = the sum over E of output (N, T, D) times output_gradient (N, T, D). One thread a query of a head.

override WORKGROUP: u32 = 64;

struct Dimensions {
    samples: u32,    // N
    tokens: u32,     // T
    heads: u32,      // H
    head_width: u32, // E
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> output: array<f32>;
@group(1) @binding(1) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(2) var<storage, read_write> products: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let tokens = dimensions.tokens;
    let heads = dimensions.heads;
    if index >= dimensions.samples * heads * tokens {
        return;
    }
    let t = index % tokens;
    let head = index / tokens % heads;
    let sample = index / tokens / heads;
    let width = heads * dimensions.head_width;
    let start = (sample * tokens + t) * width + head * dimensions.head_width;
    var sum = 0.0;
    for (var e = 0u; e < dimensions.head_width; e++) {
        sum += output[start + e] * output_gradient[start + e];
    }
    products[index] = sum;
}
