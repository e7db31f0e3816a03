// As conv2d_backward_weights. The tiles are few, and the places many: a work-group computes one tile, each of its threads from its own
// part of all places, and adds the parts up.

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

var<workgroup> parts: array<mat4x4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.y * groups.x + group.x;
    let side = dimensions.kernel * dimensions.kernel;
    let window = dimensions.inputs * side;
    let tiles = (window + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let channel = index / tiles * TILE_ROWS;
    let column = index % tiles * TILE_COLUMNS;
    let step = vec4(0u, 1u, 2u, 3u);
    let columns = min(column + step, vec4(window - 1));
    let plane_area = dimensions.height * dimensions.width;
    let area = dimensions.output_height * dimensions.output_width;
    let start = columns / side * plane_area;
    let ky = columns % side / dimensions.kernel;
    let kx = columns % dimensions.kernel;
    let channels = min(channel + step, vec4(dimensions.outputs - 1)) * area;
    var sums = mat4x4<f32>();
    for (var place = local; place < dimensions.samples * area; place += WORKGROUP) {
        let n = place / area;
        let p = place % area / dimensions.output_width;
        let q = place % area % dimensions.output_width;
        // Above the image, and left of it, these wrap round to huge numbers.
        let y = p * dimensions.stride + ky - dimensions.padding;
        let x = q * dimensions.stride + kx - dimensions.padding;
        let plane = start + n * dimensions.inputs * plane_area;
        let line = plane + min(y, vec4(dimensions.height - 1)) * dimensions.width;
        let at = line + min(x, vec4(dimensions.width - 1));
        let inside = (y < vec4(dimensions.height)) & (x < vec4(dimensions.width));
        let loaded = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
        let values = select(vec4<f32>(), loaded, inside);
        let gradient_at = channels + n * dimensions.outputs * area + place % area;
        sums += mat4x4(
            output_gradient[gradient_at.x] * values,
            output_gradient[gradient_at.y] * values,
            output_gradient[gradient_at.z] * values,
            output_gradient[gradient_at.w] * values,
        );
    }
    parts[local] = sums;
    workgroupBarrier();
    // One thread an output.
    let i = local / TILE_COLUMNS;
    let j = local % TILE_COLUMNS;
    if i >= TILE_ROWS || channel + i >= dimensions.outputs || column + j >= window {
        return;
    }
    var sum = 0.0;
    for (var part = 0u; part < WORKGROUP; part++) {
        sum += parts[part][i][j];
    }
    weight_gradient[(channel + i) * window + column + j] += sum;
}
