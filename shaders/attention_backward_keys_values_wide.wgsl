// As attention_backward_keys_values, for heads whose width is a multiple of 4: rows are read and written four numbers at a time.

override WORKGROUP: u32 = 64;

const HEAD_WIDTH_MAX: u32 = 128;
const FOURS_MAX: u32 = HEAD_WIDTH_MAX / 4;

struct Dimensions {
    samples: u32,    // N
    tokens: u32,     // T
    heads: u32,      // H
    head_width: u32, // E
    scale: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> packed: array<vec4<f32>>; // (N, T, 3D)
@group(1) @binding(1) var<storage, read> output_gradient: array<vec4<f32>>; // (N, T, D)
@group(1) @binding(2) var<storage, read> log_sums: array<f32>; // (N, H, T)
@group(1) @binding(3) var<storage, read> products: array<f32>; // (N, H, T)
@group(1) @binding(4) var<storage, read_write> packed_gradient: array<vec4<f32>>; // (N, T, 3D)

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
    let s = index % tokens;
    let head = index / tokens % heads;
    let sample = index / tokens / heads;
    let fours = dimensions.head_width / 4;
    let width = heads * fours;
    let start = sample * tokens * 3 * width + head * fours;
    let key = start + s * 3 * width + width;
    var keys: array<vec4<f32>, FOURS_MAX>;
    var values: array<vec4<f32>, FOURS_MAX>;
    for (var t = s; t < tokens; t++) {
        let query = start + t * 3 * width;
        let gradient = (sample * tokens + t) * width + head * fours;
        let row = (sample * heads + head) * tokens + t;
        var score = 0.0;
        var change = 0.0;
        for (var e = 0u; e < fours; e++) {
            score += dot(packed[query + e], packed[key + e]);
            change += dot(output_gradient[gradient + e], packed[key + width + e]);
        }
        let weight = exp(score * dimensions.scale - log_sums[row]);
        let score_gradient = weight * (change - products[row]) * dimensions.scale;
        for (var e = 0u; e < fours; e++) {
            keys[e] += score_gradient * packed[query + e];
            values[e] += weight * output_gradient[gradient + e];
        }
    }
    for (var e = 0u; e < fours; e++) {
        packed_gradient[key + e] = keys[e];
        packed_gradient[key + width + e] = values[e];
    }
}
