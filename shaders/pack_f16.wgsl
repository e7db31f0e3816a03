// packed = input as 16-bit floats, two a word; rounded to the nearest, of two equally near the even one. In whole numbers, since
// the rounding of pack2x16float is the device's. One thread a word.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<u32>; // bits of 32-bit floats
@group(1) @binding(1) var<storage, read_write> packed: array<u32>;

fn f16_of(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u;
    }
    if magnitude >= 0x477ff000u { // 65520, halfway between 65504 and what would be next
        return sign | 0x7c00u;
    }
    if magnitude >= 0x38800000u { // 2^-14
        let odd = (magnitude >> 13u) & 1u;
        return sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13u);
    }
    let shift = 126u - (magnitude >> 23u);
    if shift > 25u {
        return sign;
    }
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    let odd = (mantissa >> shift) & 1u;
    return sign | ((mantissa + (1u << (shift - 1u)) - 1u + odd) >> shift);
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
    var word = f16_of(input[2u * index]);
    if 2u * index + 1u < dimensions.elements {
        word |= f16_of(input[2u * index + 1u]) << 16u;
    }
    packed[index] = word;
}
