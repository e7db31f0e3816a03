// As conv2d_backward_input, for layers with many channels: a thread computes 16 of them for 4 pixels, so that where a pixel lies is found out less often.

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
@group(1) @binding(0) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read_write> input_gradient: array<f32>;

fn store(channel: u32, pixel: u32, sums: vec4<f32>) {
    if channel >= dimensions.inputs {
        return;
    }
    let area = dimensions.height * dimensions.width;
    for (var j = 0u; j < TILE_COLUMNS && pixel + j < dimensions.samples * area; j++) {
        let sample = (pixel + j) / area;
        let index = (sample * dimensions.inputs + channel) * area + (pixel + j) % area;
        input_gradient[index] = sums[j];
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
    let area = dimensions.height * dimensions.width;
    let pixels = dimensions.samples * area;
    let tiles = (pixels + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let channel = index / tiles * TILE_ROWS;
    let pixel = index % tiles * TILE_COLUMNS;
    if channel >= dimensions.inputs {
        return;
    }
    let step = vec4(0u, 1u, 2u, 3u);
    let tile_pixels = min(pixel + step, vec4(pixels - 1));
    let side = dimensions.kernel * dimensions.kernel;
    let end = vec4(dimensions.inputs - 1);
    let channels_0 = min(channel + step, end) * side;
    let channels_1 = min(channel + 4 + step, end) * side;
    let channels_2 = min(channel + 8 + step, end) * side;
    let channels_3 = min(channel + 12 + step, end) * side;
    let plane_area = dimensions.output_height * dimensions.output_width;
    let sample = tile_pixels / area * dimensions.outputs * plane_area;
    let bottom = tile_pixels % area / dimensions.width + dimensions.padding;
    let right = tile_pixels % area % dimensions.width + dimensions.padding;
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    for (var ky = 0u; ky < dimensions.kernel; ky++) {
        // Before the first place this wraps round to a huge number.
        let down = bottom - ky;
        let p = down / dimensions.stride;
        let in_rows = (down % dimensions.stride == vec4<u32>()) & (p < vec4(dimensions.output_height));
        let line = sample + min(p, vec4(dimensions.output_height - 1)) * dimensions.output_width;
        for (var kx = 0u; kx < dimensions.kernel; kx++) {
            let along = right - kx;
            let q = along / dimensions.stride;
            let in_columns = (along % dimensions.stride == vec4<u32>()) & (q < vec4(dimensions.output_width));
            let inside = in_rows & in_columns;
            if !any(inside) {
                continue;
            }
            var at = line + min(q, vec4(dimensions.output_width - 1));
            var tap = ky * dimensions.kernel + kx;
            for (var o = 0u; o < dimensions.outputs; o++) {
                let loaded = vec4(
                    output_gradient[at.x],
                    output_gradient[at.y],
                    output_gradient[at.z],
                    output_gradient[at.w],
                );
                let values = select(vec4<f32>(), loaded, inside);
                sums_0 += outer(weights(channels_0 + tap), values);
                sums_1 += outer(weights(channels_1 + tap), values);
                sums_2 += outer(weights(channels_2 + tap), values);
                sums_3 += outer(weights(channels_3 + tap), values);
                at += plane_area;
                tap += dimensions.inputs * side;
            }
        }
    }
    store_four(channel, pixel, sums_0);
    store_four(channel + 4, pixel, sums_1);
    store_four(channel + 8, pixel, sums_2);
    store_four(channel + 12, pixel, sums_3);
}
