// As channel_sum. A work-group takes a channel, and its threads share the pixels.

override WORKGROUP: u32 = 64;

struct Dimensions {
    samples: u32,  // N
    channels: u32, // C
    pixels: u32,   // P
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<f32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;

var<workgroup> parts: array<f32, WORKGROUP>;

// The sum of what all threads of the group have.
fn total(local: u32, own: f32) -> f32 {
    parts[local] = own;
    workgroupBarrier();
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.y * groups.x + group.x;
    let pixels = dimensions.pixels;
    var own = 0.0;
    if index < dimensions.channels {
        for (var place = local; place < dimensions.samples * pixels; place += WORKGROUP) {
            own += input[(place / pixels * dimensions.channels + index) * pixels + place % pixels];
        }
    }
    let sum = total(local, own);
    if local == 0 && index < dimensions.channels {
        output[index] += sum;
    }
}
