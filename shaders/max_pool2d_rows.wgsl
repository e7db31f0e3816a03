// As max_pool2d, one thread a row of windows, so that where a row lies is found out once.

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
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;
@group(1) @binding(2) var<storage, read_write> places: array<u32>;

// Looks at the bits: compilers may take it that there are no NaNs.
fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * WORKGROUP + local;
    let plane = row / dimensions.output_height;
    if plane >= dimensions.samples * dimensions.channels {
        return;
    }
    let start = plane * dimensions.height * dimensions.width;
    let top = row % dimensions.output_height * dimensions.stride * dimensions.width;
    let first = row * dimensions.output_width;
    for (var q = 0u; q < dimensions.output_width; q++) {
        let corner = top + q * dimensions.stride;
        var best = corner;
        var largest = input[start + best];
        for (var ky = 0u; ky < dimensions.kernel; ky++) {
            for (var kx = 0u; kx < dimensions.kernel; kx++) {
                let place = corner + ky * dimensions.width + kx;
                let value = input[start + place];
                if value > largest || (is_nan(value) && !is_nan(largest)) {
                    best = place;
                    largest = value;
                }
            }
        }
        output[first + q] = largest;
        places[first + q] = best;
    }
}
