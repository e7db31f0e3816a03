// As conv2d_backward_input, for kernels of side 3 and stride 1: a thread computes 4 channels of 16 pixels in a row, so that each pixel
// and each weight is loaded less often.

override WORKGROUP: u32 = 64;

const TILE_ROWS: u32 = 4;
const TILE_COLUMNS: u32 = 16;
const SIDE: u32 = 3;
const AREA: u32 = SIDE * SIDE;

struct Dimensions {
    samples: u32,       // N
    inputs: u32,        // I
    outputs: u32,       // O
    height: u32,        // H
    width: u32,         // W
    output_height: u32, // P
    output_width: u32,  // Q
    kernel: u32,        // K
    stride: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read_write> input_gradient: array<f32>;

// Four pixels of a line; zero where they lie in the padding, whose places wrap round to huge numbers.
fn four(line: u32, in_rows: bool, x: u32) -> vec4<f32> {
    let places = x + vec4(0u, 1u, 2u, 3u);
    let at = line + min(places, vec4(dimensions.output_width - 1));
    let loaded = vec4(output_gradient[at.x], output_gradient[at.y], output_gradient[at.z], output_gradient[at.w]);
    return select(vec4<f32>(), loaded, vec4(in_rows) & (places < vec4(dimensions.output_width)));
}

fn weights(at: vec4<u32>) -> vec4<f32> {
    return vec4(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}

fn store(sample: u32, channel: u32, y: u32, x: u32, sums: mat4x4<f32>) {
    if channel >= dimensions.inputs {
        return;
    }
    let line = ((sample * dimensions.inputs + channel) * dimensions.height + y) * dimensions.width;
    for (var j = 0u; j < TILE_COLUMNS && x + j < dimensions.width; j++) {
        input_gradient[line + x + j] = sums[j / 4][j % 4];
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let tiles = (dimensions.width + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let lines = dimensions.samples * dimensions.height;
    let channel = index / (tiles * lines) * TILE_ROWS;
    if channel >= dimensions.inputs {
        return;
    }
    let row = index % (tiles * lines) / tiles;
    let sample = row / dimensions.height;
    let top = row % dimensions.height;
    let x = index % tiles * TILE_COLUMNS;
    // Where the windows begin; in the padding this wraps round to a huge number.
    let left = x + dimensions.padding - (SIDE - 1);
    let plane_area = dimensions.output_height * dimensions.output_width;
    var plane = sample * dimensions.outputs * plane_area;
    let step = vec4(0u, 1u, 2u, 3u);
    // The kernel turned round: its last number first.
    var taps = min(channel + step, vec4(dimensions.inputs - 1)) * AREA + AREA - 1;
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    for (var i = 0u; i < dimensions.outputs; i++) {
        for (var ky = 0u; ky < SIDE; ky++) {
            let y = top + ky + dimensions.padding - (SIDE - 1);
            let in_rows = y < dimensions.output_height;
            let line = plane + min(y, dimensions.output_height - 1) * dimensions.output_width;
            let a = four(line, in_rows, left);
            let b = four(line, in_rows, left + 4);
            let c = four(line, in_rows, left + 8);
            let d = four(line, in_rows, left + 12);
            let e = four(line, in_rows, left + 16);
            let at = taps - ky * SIDE;
            let weights_0 = weights(at);
            let weights_1 = weights(at - 1);
            let weights_2 = weights(at - 2);
            let pixels_0 = mat4x4(a, b, c, d);
            let pixels_1 = mat4x4(vec4(a.yzw, b.x), vec4(b.yzw, c.x), vec4(c.yzw, d.x), vec4(d.yzw, e.x));
            let pixels_2 = mat4x4(vec4(a.zw, b.xy), vec4(b.zw, c.xy), vec4(c.zw, d.xy), vec4(d.zw, e.xy));
            sums_0 += weights_0.x * pixels_0 + weights_1.x * pixels_1 + weights_2.x * pixels_2;
            sums_1 += weights_0.y * pixels_0 + weights_1.y * pixels_1 + weights_2.y * pixels_2;
            sums_2 += weights_0.z * pixels_0 + weights_1.z * pixels_1 + weights_2.z * pixels_2;
            sums_3 += weights_0.w * pixels_0 + weights_1.w * pixels_1 + weights_2.w * pixels_2;
        }
        plane += plane_area;
        taps += vec4(dimensions.inputs * AREA);
    }
    store(sample, channel, top, x, sums_0);
    store(sample, channel + 1, top, x, sums_1);
    store(sample, channel + 2, top, x, sums_2);
    store(sample, channel + 3, top, x, sums_3);
}
