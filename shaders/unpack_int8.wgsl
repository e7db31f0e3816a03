// output = packed, whole numbers four a word behind the scales of their rows, times the scale: exact. One thread a word.

override WORKGROUP: u32 = 64;

struct Dimensions {
    elements: u32,
    rows: u32,
    row: u32, // numbers of one
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> packed: array<u32>;
@group(1) @binding(1) var<storage, read_write> output: array<f32>;

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
    let word = bitcast<i32>(packed[dimensions.rows + index]);
    for (var i = 0u; i < min(4u, dimensions.elements - 4u * index); i++) {
        let place = 4u * index + i;
        let number = (word << (24u - 8u * i)) >> 24u;
        output[place] = f32(number) * bitcast<f32>(packed[place / dimensions.row]);
    }
}
