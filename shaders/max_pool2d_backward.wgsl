// input_gradient (N, C, H, W) = the sum of output_gradient (N, C, P, Q) over the windows whose place is there. One thread a
// pixel, which looks at the windows that it lies in.

override WORKGROUP: u32 = 64;

struct Dimensions {
    samples: u32,       // N
    channels: u32,      // C
    outputs: u32,       // C as well
    height: u32,        // H
    width: u32,         // W
    output_height: u32, // P
    output_width: u32,  // Q
    kernel: u32,        // K
    stride: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> places: array<u32>;
@group(1) @binding(1) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(2) var<storage, read_write> input_gradient: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let area = dimensions.height * dimensions.width;
    let plane = index / area;
    if plane >= dimensions.samples * dimensions.channels {
        return;
    }
    let place = index % area;
    let y = place / dimensions.width;
    let x = place % dimensions.width;
    let start = plane * dimensions.output_height * dimensions.output_width;
    // The first window that reaches so far, and past the last that begins here.
    let stride = dimensions.stride;
    let first_p = (max(y + 1, dimensions.kernel) - dimensions.kernel + stride - 1) / stride;
    let first_q = (max(x + 1, dimensions.kernel) - dimensions.kernel + stride - 1) / stride;
    let last_p = min(y / stride + 1, dimensions.output_height);
    let last_q = min(x / stride + 1, dimensions.output_width);
    var sum = 0.0;
    for (var p = first_p; p < last_p; p++) {
        for (var q = first_q; q < last_q; q++) {
            let window = start + p * dimensions.output_width + q;
            if places[window] == place {
                sum += output_gradient[window];
            }
        }
    }
    input_gradient[index] = sum;
}
