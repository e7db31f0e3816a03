// As attention, for heads whose width is a multiple of 4: rows are read and written four numbers at a time.

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
@group(1) @binding(0) var<storage, read> packed: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
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
    let fours = dimensions.head_width / 4;
    let width = heads * fours;
    let start = sample * tokens * 3 * width + head * fours;
    let query = start + t * 3 * width;
    var values: array<vec4<f32>, FOURS_MAX>;
    var largest = 0.0;
    var sum = 0.0;
    for (var s = 0u; s <= t; s++) {
        let key = start + s * 3 * width + width;
        var score = 0.0;
        for (var e = 0u; e < fours; e++) {
            score += dot(packed[query + e], packed[key + e]);
        }
        score *= dimensions.scale;
        let before = select(largest, score, s == 0);
        largest = max(before, score);
        let kept = exp(before - largest);
        let weight = exp(score - largest);
        sum = sum * kept + weight;
        for (var e = 0u; e < fours; e++) {
            values[e] = values[e] * kept + weight * packed[key + width + e];
        }
    }
    let target_at = (sample * tokens + t) * width + head * fours;
    for (var e = 0u; e < fours; e++) {
        output[target_at + e] = values[e] / sum;
    }
    log_sums[index] = largest + log(sum);
}
