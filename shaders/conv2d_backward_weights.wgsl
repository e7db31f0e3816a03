// weight_gradient (O, I, K, K) += the sum over all samples and places (p, q) of output_gradient (N, O, P, Q) input (N, I,
// stride p + ky - padding, stride q + kx - padding).
//
// One thread computes 4 channels of 4 places in a window (I, K, K) in registers.

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
@group(1) @binding(1) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(2) var<storage, read_write> weight_gradient: array<f32>;

fn store(channel: u32, column: u32, window: u32, sums: vec4<f32>) {
    if channel >= dimensions.outputs {
        return;
    }
    for (var j = 0u; j < TILE_COLUMNS && column + j < window; j++) {
        weight_gradient[channel * window + column + j] += sums[j];
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let side = dimensions.kernel * dimensions.kernel;
    let window = dimensions.inputs * side;
    let tiles = (window + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let channel = index / tiles * TILE_ROWS;
    let column = index % tiles * TILE_COLUMNS;
    if channel >= dimensions.outputs {
        return;
    }
    let step = vec4(0u, 1u, 2u, 3u);
    let columns = min(column + step, vec4(window - 1));
    let plane_area = dimensions.height * dimensions.width;
    let area = dimensions.output_height * dimensions.output_width;
    var plane = columns / side * plane_area;
    let ky = columns % side / dimensions.kernel;
    let kx = columns % dimensions.kernel;
    var gradient_at = min(channel + step, vec4(dimensions.outputs - 1)) * area;
    var row_0 = vec4<f32>();
    var row_1 = vec4<f32>();
    var row_2 = vec4<f32>();
    var row_3 = vec4<f32>();
    for (var n = 0u; n < dimensions.samples; n++) {
        for (var p = 0u; p < dimensions.output_height; p++) {
            // Above the image this wraps round to a huge number.
            let y = p * dimensions.stride + ky - dimensions.padding;
            let line = plane + min(y, vec4(dimensions.height - 1)) * dimensions.width;
            for (var q = 0u; q < dimensions.output_width; q++) {
                let x = q * dimensions.stride + kx - dimensions.padding;
                let at = line + min(x, vec4(dimensions.width - 1));
                let inside = (y < vec4(dimensions.height)) & (x < vec4(dimensions.width));
                let loaded = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
                let values = select(vec4<f32>(), loaded, inside);
                row_0 += output_gradient[gradient_at.x] * values;
                row_1 += output_gradient[gradient_at.y] * values;
                row_2 += output_gradient[gradient_at.z] * values;
                row_3 += output_gradient[gradient_at.w] * values;
                gradient_at += 1;
            }
        }
        plane += dimensions.inputs * plane_area;
        gradient_at += (dimensions.outputs - 1) * area;
    }
    store(channel, column, window, row_0);
    store(channel + 1, column, window, row_1);
    store(channel + 2, column, window, row_2);
    store(channel + 3, column, window, row_3);
}
