// packed, behind its scales, = input in whole numbers of its row's scale, -127 to 127, four a word; rounded to the nearest, or up
// or down at random so that the mean is right. In whole numbers, since the rounding of a product is the device's. One thread a word.

override WORKGROUP: u32 = 64;
override DITHER: bool = false;

struct Dimensions {
    elements: u32,
    rows: u32,
    row: u32,    // numbers of one
    sample: u32, // numbers of one
    key: u32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> position: array<u32>; // any, step, first sample, any
@group(1) @binding(1) var<storage, read> input: array<u32>;    // bits of floats
@group(1) @binding(2) var<storage, read_write> packed: array<u32>;

// Jarzynski and Olano, "Hash functions for GPU rendering", 2020.
fn pcg4d(words: vec4<u32>) -> vec4<u32> {
    var v = words * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// Wellons, "Prospecting for hash functions", 2018.
fn lowbias32(word: u32) -> u32 {
    var v = word;
    v = (v ^ (v >> 16u)) * 0x7feb352du;
    v = (v ^ (v >> 15u)) * 0x846ca68bu;
    return v ^ (v >> 16u);
}

// What is added before the last 16 bits are cut off.
fn dither(index: u32) -> u32 {
    if !DITHER {
        return 0x8000u;
    }
    let sample = position[2] + index / dimensions.sample;
    let key = pcg4d(vec4(dimensions.key, position[1], sample, 0u)).x;
    return lowbias32(key + index % dimensions.sample) >> 16u;
}

// 2^47 / divisor, rounded down, for 2^23 <= divisor < 2^24: a long division.
fn inverse_of(divisor: u32) -> u32 {
    let first = 0x80000000u / divisor;
    let second = ((0x80000000u % divisor) << 8u) / divisor;
    let third = (((((0x80000000u % divisor) << 8u) % divisor)) << 8u) / divisor;
    return (first << 16u) | (second << 8u) | third;
}

// left right / 2^24, rounded down, for factors of at most 24 and 25 bits.
fn high_product(left: u32, right: u32) -> u32 {
    let a = left >> 12u;
    let b = left & 0xfffu;
    let c = right >> 12u;
    let d = right & 0xfffu;
    return a * c + ((a * d + b * c + ((b * d) >> 12u)) >> 12u);
}

// In whole numbers of the scale, as the low eight bits.
fn quantum(bits: u32, scale: u32, index: u32) -> u32 {
    if scale == 0u || scale >= 0x7f800000u {
        return 0u;
    }
    let exponent = (bits >> 23u) & 0xffu;
    let mantissa = (bits & 0x7fffffu) | 0x800000u;
    let inverse = inverse_of((scale & 0x7fffffu) | 0x800000u);
    // The magnitude over the scale with 16 bits behind the point. A number is below 128 times the scale, so that no shift is
    // negative; what is 2^-31 of it, or has exponent zero, is nothing.
    let shift = min(7u + (scale >> 23u) - exponent, 31u);
    let fixed = high_product(mantissa, inverse) >> shift;
    let magnitude = min((fixed + dither(index)) >> 16u, 127u);
    return select(magnitude, 0u - magnitude, (bits >> 31u) == 1u) & 0xffu;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if 4u * index >= dimensions.elements {
        return;
    }
    var word = 0u;
    for (var i = 0u; i < min(4u, dimensions.elements - 4u * index); i++) {
        let place = 4u * index + i;
        word |= quantum(input[place], packed[place / dimensions.row], place) << (8u * i);
    }
    packed[dimensions.rows + index] = word;
}
