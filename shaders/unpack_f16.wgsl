// output = packed, 16-bit floats, two a word. In whole numbers, so that infinity and NaN stay what they are. One thread a word.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> packed: array<u32>;
@group(1) @binding(1) var<storage, read_write> output: array<u32>; // bits of 32-bit floats

fn f32_of(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    if magnitude >= 0x7c00u {
        return sign | 0x7f800000u | (magnitude << 13u);
    }
    if magnitude >= 0x400u {
        return sign | ((magnitude << 13u) + 0x38000000u);
    }
    // magnitude times 2^-24: its first bit becomes the one that is not written.
    let first = firstLeadingBit(magnitude);
    let number = ((magnitude << (23u - first)) & 0x7fffffu) | ((first + 103u) << 23u);
    return sign | select(number, 0u, magnitude == 0u);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if 2u * index >= dimensions.elements {
        return;
    }
    let word = packed[index];
    output[2u * index] = f32_of(word & 0xffffu);
    if 2u * index + 1u < dimensions.elements {
        output[2u * index + 1u] = f32_of(word >> 16u);
    }
}
