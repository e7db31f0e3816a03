// output (C) += the sum over N and P of input (N, C, P). One thread a channel.

override WORKGROUP: u32 = 64;

struct Dimensions {
    samples: u32,  // N
    channels: u32, // C
    pixels: u32,   // P
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.channels {
        return;
    }
    var sum = 0.0;
    for (var n = 0u; n < dimensions.samples; n++) {
        let start = (n * dimensions.channels + index) * dimensions.pixels;
        var part = 0.0;
        for (var p = 0u; p < dimensions.pixels; p++) {
            part += input[start + p];
        }
        sum += part;
    }
    output[index] += sum;
}
