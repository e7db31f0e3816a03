// As max_pool2d_backward, for windows that lie side by side: one thread a row of pixels, which looks at each window once.

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
    let row = (group.y * groups.x + group.x) * WORKGROUP + local;
    let plane = row / dimensions.height;
    if plane >= dimensions.samples * dimensions.channels {
        return;
    }
    let y = row % dimensions.height;
    let p = y / dimensions.kernel;
    // Below the last windows there are none.
    let windows = select(0u, dimensions.output_width, p < dimensions.output_height);
    let first = (plane * dimensions.output_height + p) * dimensions.output_width;
    var place = y * dimensions.width;
    var at = row * dimensions.width;
    let end = at + dimensions.width;
    for (var q = 0u; q < windows; q++) {
        let found = places[first + q];
        let gradient = output_gradient[first + q];
        for (var kx = 0u; kx < dimensions.kernel; kx++) {
            input_gradient[at] = select(0.0, gradient, found == place);
            at += 1;
            place += 1;
        }
    }
    for (; at < end; at++) {
        input_gradient[at] = 0.0;
    }
}
