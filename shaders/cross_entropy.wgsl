// For each row x of logits (R, C) with label y: loss = log(sum exp(x - max)) - (x[y] - max), whether the first largest
// logit is the label's, and gradient = (softmax(x) - onehot(y)) * scale. One thread a row.

override WORKGROUP: u32 = 64;

// A row of padding: loss 0, gradient 0.
const IGNORED_LABEL: u32 = 0xffffffffu;

struct Dimensions {
    rows: u32,    // R
    classes: u32, // C
    scale: f32,
}

@group(0) @binding(0) var<uniform> dimensions: Dimensions;
@group(1) @binding(0) var<storage, read> logits: array<f32>;
@group(1) @binding(1) var<storage, read> labels: array<u32>;
@group(1) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(1) @binding(3) var<storage, read_write> losses: array<f32>; // (R, 2)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * WORKGROUP + local;
    if row >= dimensions.rows {
        return;
    }
    let start = row * dimensions.classes;
    let label = labels[row];
    if label == IGNORED_LABEL {
        for (var c = 0u; c < dimensions.classes; c++) {
            gradient[start + c] = 0.0;
        }
        losses[2 * row] = 0.0;
        losses[2 * row + 1] = 0.0;
        return;
    }
    var best = 0u;
    for (var c = 1u; c < dimensions.classes; c++) {
        if logits[start + c] > logits[start + best] {
            best = c;
        }
    }
    let largest = logits[start + best];
    var sum = 0.0;
    for (var c = 0u; c < dimensions.classes; c++) {
        let exponential = exp(logits[start + c] - largest);
        gradient[start + c] = exponential;
        sum += exponential;
    }
    for (var c = 0u; c < dimensions.classes; c++) {
        let goal = select(0.0, 1.0, c == label);
        gradient[start + c] = (gradient[start + c] / sum - goal) * dimensions.scale;
    }
    losses[2 * row] = log(sum) - (logits[start + label] - largest);
    losses[2 * row + 1] = select(0.0, 1.0, best == label);
}
