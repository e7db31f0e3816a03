// input_gradient (N, I, H, W) = the sum over all o and all places (p, q) of the kernel with stride p + ky - padding = h and
// stride q + kx - padding = w of output_gradient (N, O, P, Q) weight (O, I, K, K).
//
// One thread computes 4 channels of 4 pixels in registers, as conv2d does.

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
    let channels = min(channel + step, vec4(dimensions.inputs - 1));
    let plane_area = dimensions.output_height * dimensions.output_width;
    let sample = tile_pixels / area * dimensions.outputs * plane_area;
    let bottom = tile_pixels % area / dimensions.width + dimensions.padding;
    let right = tile_pixels % area % dimensions.width + dimensions.padding;
    var row_0 = vec4<f32>();
    var row_1 = vec4<f32>();
    var row_2 = vec4<f32>();
    var row_3 = vec4<f32>();
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
            var weight_at = channels * side + ky * dimensions.kernel + kx;
            for (var o = 0u; o < dimensions.outputs; o++) {
                let loaded = vec4(
                    output_gradient[at.x],
                    output_gradient[at.y],
                    output_gradient[at.z],
                    output_gradient[at.w],
                );
                let values = select(vec4<f32>(), loaded, inside);
                row_0 += weight[weight_at.x] * values;
                row_1 += weight[weight_at.y] * values;
                row_2 += weight[weight_at.z] * values;
                row_3 += weight[weight_at.w] * values;
                at += plane_area;
                weight_at += dimensions.inputs * side;
            }
        }
    }
    store(channel, pixel, row_0);
    store(channel + 1, pixel, row_1);
    store(channel + 2, pixel, row_2);
    store(channel + 3, pixel, row_3);
}
