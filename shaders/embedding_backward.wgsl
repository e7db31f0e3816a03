// table_gradient (V, D) += the sum of output_gradient (R, D) over the places of each token. One thread a number of the table,
// which looks at all tokens: sums keep their order, and no atomics are needed.

override WORKGROUP: u32 = 64;

struct Dimensions {
    rows: u32,       // R
    vocabulary: u32, // V
    width: u32,      // D
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> output_gradient: array<f32>;
@group(1) @binding(2) var<storage, read_write> table_gradient: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WORKGROUP + local;
    let token = index / dimensions.width;
    let column = index % dimensions.width;
    if token >= dimensions.vocabulary {
        return;
    }
    var sum = table_gradient[index];
    for (var row = 0u; row < dimensions.rows; row++) {
        if tokens[row] == token {
            sum += output_gradient[row * dimensions.width + column];
        }
    }
    table_gradient[index] = sum;
}
