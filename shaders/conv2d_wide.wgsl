// As conv2d, for layers with many channels: a thread computes 16 of them for 4 pixels, so that where a pixel lies is found out less often.

override WORKGROUP: u32 = 64;

const TILE_ROWS: u32 = 16;
const TILE_COLUMNS: u32 = 4;

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
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read_write> output: array<f32>;

fn store(channel: u32, pixel: u32, sums: vec4<f32>) {
    if channel >= dimensions.outputs {
        return;
    }
    let area = dimensions.output_height * dimensions.output_width;
    for (var j = 0u; j < TILE_COLUMNS && pixel + j < dimensions.samples * area; j++) {
        let sample = (pixel + j) / area;
        let index = (sample * dimensions.outputs + channel) * area + (pixel + j) % area;
        output[index] = sums[j] + bias[channel];
    }
}

fn store_four(channel: u32, pixel: u32, sums: mat4x4<f32>) {
    store(channel, pixel, sums[0]);
    store(channel + 1, pixel, sums[1]);
    store(channel + 2, pixel, sums[2]);
    store(channel + 3, pixel, sums[3]);
}

fn weights(at: vec4<u32>) -> vec4<f32> {
    return vec4(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}

fn outer(channels: vec4<f32>, pixels: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(channels.x * pixels, channels.y * pixels, channels.z * pixels, channels.w * pixels);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let area = dimensions.output_height * dimensions.output_width;
    let pixels = dimensions.samples * area;
    let tiles = (pixels + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let channel = index / tiles * TILE_ROWS;
    let pixel = index % tiles * TILE_COLUMNS;
    if channel >= dimensions.outputs {
        return;
    }
    let step = vec4(0u, 1u, 2u, 3u);
    let tile_pixels = min(pixel + step, vec4(pixels - 1));
    let window = dimensions.inputs * dimensions.kernel * dimensions.kernel;
    let end = vec4(dimensions.outputs - 1);
    let weights_0 = min(channel + step, end) * window;
    let weights_1 = min(channel + 4 + step, end) * window;
    let weights_2 = min(channel + 8 + step, end) * window;
    let weights_3 = min(channel + 12 + step, end) * window;
    let plane_area = dimensions.height * dimensions.width;
    let plane = tile_pixels / area * dimensions.inputs * plane_area;
    let place = tile_pixels % area;
    // Where the window begins, plus the padding, so that it is never negative.
    let top = place / dimensions.output_width * dimensions.stride;
    let left = place % dimensions.output_width * dimensions.stride;
    let side = dimensions.kernel * dimensions.kernel;
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    for (var ky = 0u; ky < dimensions.kernel; ky++) {
        // Above the image this wraps round to a huge number.
        let y = top + ky - dimensions.padding;
        let line = plane + min(y, vec4(dimensions.height - 1)) * dimensions.width;
        for (var kx = 0u; kx < dimensions.kernel; kx++) {
            let x = left + kx - dimensions.padding;
            let inside = (y < vec4(dimensions.height)) & (x < vec4(dimensions.width));
            if !any(inside) {
                continue;
            }
            var at = line + min(x, vec4(dimensions.width - 1));
            var tap = ky * dimensions.kernel + kx;
            for (var i = 0u; i < dimensions.inputs; i++) {
                let loaded = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
                let values = select(vec4<f32>(), loaded, inside);
                sums_0 += outer(weights(weights_0 + tap), values);
                sums_1 += outer(weights(weights_1 + tap), values);
                sums_2 += outer(weights(weights_2 + tap), values);
                sums_3 += outer(weights(weights_3 + tap), values);
                at += plane_area;
                tap += side;
            }
        }
    }
    store_four(channel, pixel, sums_0);
    store_four(channel + 4, pixel, sums_1);
    store_four(channel + 8, pixel, sums_2);
    store_four(channel + 12, pixel, sums_3);
}
