// The first words of packed = the scale of each row of input: a 127th of its largest magnitude, rounded up to 17 bits, so that
// whole numbers up to 127 times it are exact; NaN if a number of the row is not finite. One thread a row.

override WORKGROUP: u32 = 64;

// Bits of 2^-96: rows with nothing that large are zeros.
const MAGNITUDE_BITS_MIN: u32 = 0x0f800000u;

// The largest multiple of 2 that 127 times is below 2^24: no number of a row overflows when it is unpacked.
const SCALE_MANTISSA_MAX: u32 = 132104u;

struct Dimensions {
    rows: u32,
    row: u32, // numbers of one
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> input: array<u32>; // bits of floats
@group(1) @binding(1) var<storage, read_write> packed: array<u32>;

fn scale_of(magnitude: u32) -> u32 {
    if magnitude >= 0x7f800000u {
        return 0x7fc00000u;
    }
    if magnitude < MAGNITUDE_BITS_MIN {
        return 0u;
    }
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    let scale = min(((mantissa + 126u) / 127u + 1u) & 0xfffffffeu, SCALE_MANTISSA_MAX);
    let exponent = magnitude & 0x7f800000u;
    return bitcast<u32>(f32(scale)) + exponent - (150u << 23u);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    if index >= dimensions.rows {
        return;
    }
    // As bits magnitudes are in order, infinity and NaN above all others.
    var largest = 0u;
    let start = index * dimensions.row;
    for (var i = start; i < start + dimensions.row; i++) {
        largest = max(largest, input[i] & 0x7fffffffu);
    }
    packed[index] = scale_of(largest);
}
