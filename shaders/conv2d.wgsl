// output (N, O, P, Q) = bias (O) + the sum over i, ky, kx of weight (O, I, K, K) input (N, I, stride p + ky - padding,
// stride q + kx - padding).
//
// A matrix product without the matrix ("implicit GEMM"): one thread computes 4 channels of 4 pixels in registers, the pixels
// of all samples counted through. Loads past an edge repeat the last channel or pixel, and their sums are not stored.

override WORKGROUP: u32 = 64;

const TILE_ROWS: u32 = 4;
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
    var weight_at = min(channel + step, vec4(dimensions.outputs - 1)) * window;
    let plane_area = dimensions.height * dimensions.width;
    var plane = tile_pixels / area * dimensions.inputs * plane_area;
    let place = tile_pixels % area;
    // Where the window begins, plus the padding, so that it is never negative.
    let top = place / dimensions.output_width * dimensions.stride;
    let left = place % dimensions.output_width * dimensions.stride;
    var row_0 = vec4<f32>();
    var row_1 = vec4<f32>();
    var row_2 = vec4<f32>();
    var row_3 = vec4<f32>();
    for (var i = 0u; i < dimensions.inputs; i++) {
        for (var ky = 0u; ky < dimensions.kernel; ky++) {
            // Above the image this wraps round to a huge number.
            let y = top + ky - dimensions.padding;
            let line = plane + min(y, vec4(dimensions.height - 1)) * dimensions.width;
            for (var kx = 0u; kx < dimensions.kernel; kx++) {
                let x = left + kx - dimensions.padding;
                let at = line + min(x, vec4(dimensions.width - 1));
                let inside = (y < vec4(dimensions.height)) & (x < vec4(dimensions.width));
                let loaded = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
                let values = select(vec4<f32>(), loaded, inside);
                row_0 += weight[weight_at.x] * values;
                row_1 += weight[weight_at.y] * values;
                row_2 += weight[weight_at.z] * values;
                row_3 += weight[weight_at.w] * values;
                weight_at += 1;
            }
        }
        plane += plane_area;
    }
    store(channel, pixel, row_0);
    store(channel + 1, pixel, row_1);
    store(channel + 2, pixel, row_2);
    store(channel + 3, pixel, row_3);
}
