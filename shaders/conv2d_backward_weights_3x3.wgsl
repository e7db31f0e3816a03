// As conv2d_backward_weights, for kernels of side 3 and stride 1: a thread computes all places of the kernel for one input channel and
// 4 output channels, and moves along the rows of the image, so that each pixel is loaded three times and not nine.

override WORKGROUP: u32 = 64;

const TILE_ROWS: u32 = 4;
const SIDE: u32 = 3;

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

// A column of three pixels; zero where it lies in the padding, whose places wrap round to huge numbers.
fn column(lines: vec3<u32>, in_rows: vec3<bool>, x: u32) -> vec3<f32> {
    let at = lines + min(x, dimensions.width - 1);
    let loaded = vec3(input[at.x], input[at.y], input[at.z]);
    return select(vec3<f32>(), loaded, in_rows & vec3(x < dimensions.width));
}

// For four output channels, the numbers at one place of the kernel.
fn store(channel: u32, at: u32, sums: vec4<f32>) {
    let window = dimensions.inputs * SIDE * SIDE;
    for (var j = 0u; j < TILE_ROWS && channel + j < dimensions.outputs; j++) {
        weight_gradient[(channel + j) * window + at] += sums[j];
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let channel = index / dimensions.inputs * TILE_ROWS;
    let i = index % dimensions.inputs;
    if channel >= dimensions.outputs {
        return;
    }
    let plane_area = dimensions.height * dimensions.width;
    let area = dimensions.output_height * dimensions.output_width;
    var plane = i * plane_area;
    let step = vec4(0u, 1u, 2u, 3u);
    var gradient_at = min(channel + step, vec4(dimensions.outputs - 1)) * area;
    var sums_00 = vec4<f32>();
    var sums_01 = vec4<f32>();
    var sums_02 = vec4<f32>();
    var sums_10 = vec4<f32>();
    var sums_11 = vec4<f32>();
    var sums_12 = vec4<f32>();
    var sums_20 = vec4<f32>();
    var sums_21 = vec4<f32>();
    var sums_22 = vec4<f32>();
    for (var n = 0u; n < dimensions.samples; n++) {
        for (var p = 0u; p < dimensions.output_height; p++) {
            let y = vec3(p, p + 1, p + 2) - dimensions.padding;
            let in_rows = y < vec3(dimensions.height);
            let lines = plane + min(y, vec3(dimensions.height - 1)) * dimensions.width;
            var left = column(lines, in_rows, 0u - dimensions.padding);
            var middle = column(lines, in_rows, 1u - dimensions.padding);
            for (var q = 0u; q < dimensions.output_width; q++) {
                let right = column(lines, in_rows, q + 2 - dimensions.padding);
                let gradients = vec4(
                    output_gradient[gradient_at.x],
                    output_gradient[gradient_at.y],
                    output_gradient[gradient_at.z],
                    output_gradient[gradient_at.w],
                );
                sums_00 += left.x * gradients;
                sums_01 += middle.x * gradients;
                sums_02 += right.x * gradients;
                sums_10 += left.y * gradients;
                sums_11 += middle.y * gradients;
                sums_12 += right.y * gradients;
                sums_20 += left.z * gradients;
                sums_21 += middle.z * gradients;
                sums_22 += right.z * gradients;
                gradient_at += vec4(1u);
                left = middle;
                middle = right;
            }
        }
        plane += dimensions.inputs * plane_area;
        gradient_at += vec4((dimensions.outputs - 1) * area);
    }
    let first = i * SIDE * SIDE;
    store(channel, first, sums_00);
    store(channel, first + 1, sums_01);
    store(channel, first + 2, sums_02);
    store(channel, first + 3, sums_10);
    store(channel, first + 4, sums_11);
    store(channel, first + 5, sums_12);
    store(channel, first + 6, sums_20);
    store(channel, first + 7, sums_21);
    store(channel, first + 8, sums_22);
}
