// output (N, C, P, Q) = the largest of each window of input (N, C, H, W), places (N, C, P, Q) = where in its image. A NaN is
// larger than anything, so that divergence reaches the loss; of equal numbers the first counts. One thread a window.

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
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let area = dimensions.output_height * dimensions.output_width;
    let plane = index / area;
    if plane >= dimensions.samples * dimensions.channels {
        return;
    }
    let start = plane * dimensions.height * dimensions.width;
    let top = index % area / dimensions.output_width * dimensions.stride;
    let left = index % dimensions.output_width * dimensions.stride;
    var best = top * dimensions.width + left;
    var largest = input[start + best];
    for (var ky = 0u; ky < dimensions.kernel; ky++) {
        for (var kx = 0u; kx < dimensions.kernel; kx++) {
            let place = (top + ky) * dimensions.width + left + kx;
            let value = input[start + place];
            if value > largest || (is_nan(value) && !is_nan(largest)) {
                best = place;
                largest = value;
            }
        }
    }
    output[index] = largest;
    places[index] = best;
}
