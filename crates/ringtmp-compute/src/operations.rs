//! The operations that more than one layer records.

use crate::cpu;
use crate::operation::{Kernel, Operation, product};
use crate::recording::View;

/// Rows of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
pub(crate) const TILE_ROWS: usize = 4;

/// Columns of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
pub(crate) const TILE_COLUMNS: usize = 4;

/// output (M, N) = op(left) (M, K) op(right) (K, N), plus a bias (N) per row, or added to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixProduct {
    /// (M, K), or (K, M) if transposed.
    pub left: View,
    /// (K, N), or (N, K) if transposed.
    pub right: View,
    /// (N).
    pub bias: Option<View>,
    /// (M, N).
    pub output: View,
    /// M.
    pub rows: usize,
    /// N.
    pub columns: usize,
    /// K.
    pub inner: usize,
    /// Whether left is stored (K, M).
    pub transpose_left: bool,
    /// Whether right is stored (N, K).
    pub transpose_right: bool,
    /// Whether the product is added to the output.
    pub accumulate: bool,
}

impl From<MatrixProduct> for Operation {
    /// Without a bias, right stands in its place, since a shader's bindings are always all there.
    fn from(this: MatrixProduct) -> Self {
        let source = include_str!("../../../shaders/matrix_product.wgsl");
        let threads = this.rows.div_ceil(TILE_ROWS) * this.columns.div_ceil(TILE_COLUMNS);
        let right = (this.right, product([this.inner, this.columns]));
        let bias = this.bias.map_or(right, |bias| (bias, Some(this.columns)));
        Self::new(
            "matrix_product",
            [(this.left, product([this.rows, this.inner])), right, bias],
            [(this.output, product([this.rows, this.columns]))],
            Kernel::new(source, &[this.rows, this.columns, this.inner], threads)
                .constant("TRANSPOSE_LEFT", this.transpose_left)
                .constant("TRANSPOSE_RIGHT", this.transpose_right)
                .constant("BIAS", this.bias.is_some())
                .constant("ACCUMULATE", this.accumulate),
            move |[left, right, bias], [output], scratch| {
                let bias = this.bias.is_some().then_some(bias);
                cpu::matrix_product(&this, left, right, bias, output, scratch);
            },
        )
    }
}

/// output (C) += the sum over the rows of input (R, C).
pub fn column_sum(input: View, output: View, rows: usize, columns: usize) -> Operation {
    let source = include_str!("../../../shaders/column_sum.wgsl");
    Operation::new(
        "column_sum",
        [(input, product([rows, columns]))],
        [(output, Some(columns))],
        Kernel::new(source, &[rows, columns], columns),
        move |[input], [output], _| cpu::column_sum(input, output, columns),
    )
}

/// output = left + right.
pub fn add(left: View, right: View, output: View) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../shaders/add.wgsl");
    Operation::new(
        "add",
        [(left, Some(elements)), (right, Some(elements))],
        [(output, Some(elements))],
        Kernel::new(source, &[elements], elements),
        |[left, right], [output], _| cpu::add(left, right, output),
    )
}
