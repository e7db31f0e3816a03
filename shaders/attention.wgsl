// output (N, T, D) = softmax(Q Kᵀ scale) V for each of H heads, over the tokens up to one's own; packed (N, T, 3D) has queries,
// keys and values side by side, each (H, E); log_sums (N, H, T) = the logarithm of the sum of the exponentials.
//
// One thread a query of a head; it meets each key once and corrects what it has when a larger score comes (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018).

override WORKGROUP: u32 = 64;

const HEAD_WIDTH_MAX: u32 = 128;

struct Dimensions {
    samples: u32,    // N
    tokens: u32,     // T
    heads: u32,      // H
    head_width: u32, // E
    scale: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> packed: array<f32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;
@group(1) @binding(2) var<storage, read_write> log_sums: array<f32>;

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
    let start = sample * tokens * 3 * width + head * dimensions.head_width;
    let query = start + t * 3 * width;
    var values: array<f32, HEAD_WIDTH_MAX>;
    var largest = 0.0;
    var sum = 0.0;
    for (var s = 0u; s <= t; s++) {
        let key = start + s * 3 * width + width;
        var score = 0.0;
        for (var e = 0u; e < dimensions.head_width; e++) {
            score += packed[query + e] * packed[key + e];
        }
        score *= dimensions.scale;
        let before = select(largest, score, s == 0);
        largest = max(before, score);
        let kept = exp(before - largest);
        let weight = exp(score - largest);
        sum = sum * kept + weight;
        for (var e = 0u; e < dimensions.head_width; e++) {
            values[e] = values[e] * kept + weight * packed[key + width + e];
        }
    }
    let target_at = (sample * tokens + t) * width + head * dimensions.head_width;
    for (var e = 0u; e < dimensions.head_width; e++) {
        output[target_at + e] = values[e] / sum;
    }
    log_sums[index] = largest + log(sum);
}
