//! The operations that more than one layer records.

use crate::cpu;
use crate::operation::{GROUP_THREADS, Kernel, Operation, Variant, product};
use crate::recording::View;

/// Rows of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
pub(crate) const TILE_ROWS: usize = 4;

/// Columns of outputs that a thread of `matrix_product` computes. A test reads it from the shader.
pub(crate) const TILE_COLUMNS: usize = 4;

/// Rows and columns of outputs that a thread of `matrix_product_wide` computes. A test reads it from the shader.
pub(crate) const WIDE_TILE: usize = 8;

/// Likewise of `matrix_product_widest`.
pub(crate) const WIDEST_TILE: usize = 16;

/// Rows and columns of outputs that a work-group of `matrix_product_tiled` computes. A test reads it from the shader.
pub(crate) const GROUP_TILE: usize = 64;

/// Columns that a work-group sums up, where its threads share the rows. A test reads it from the shaders.
pub(crate) const GROUP_COLUMNS: usize = 8;

/// It may be worth while to share a sum of more numbers.
pub(crate) const SUMMED_TOGETHER: usize = 32;

/// Fewer threads than a large GPU has, each with a block of outputs: then it is worth while to split the sums as well.
pub(crate) const SPLIT_THREADS_MAX: usize = 4096;

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

impl MatrixProduct {
    /// Whether whatever lies side by side in memory can be read four numbers at a time.
    fn is_in_fours(&self) -> bool {
        let rows = !self.transpose_left || self.rows.is_multiple_of(4);
        rows && self.columns.is_multiple_of(4) && self.inner.is_multiple_of(4)
    }

    fn kernel(&self) -> Kernel {
        let source = include_str!("../../../shaders/matrix_product.wgsl");
        let blocks =
            |rows: usize, columns: usize| self.rows.div_ceil(rows) * self.columns.div_ceil(columns);
        let threads = blocks(TILE_ROWS, TILE_COLUMNS);
        let wide = Variant::of_threads(
            "matrix_product_wide",
            include_str!("../../../shaders/matrix_product_wide.wgsl"),
            blocks(WIDE_TILE, WIDE_TILE),
        );
        let widest = Variant::of_wide_threads(
            "matrix_product_widest",
            include_str!("../../../shaders/matrix_product_widest.wgsl"),
            blocks(WIDEST_TILE, WIDEST_TILE),
        );
        let tiled = Variant::of_groups(
            "matrix_product_tiled",
            include_str!("../../../shaders/matrix_product_tiled.wgsl"),
            blocks(GROUP_TILE, GROUP_TILE),
        );
        let split = Variant::of_groups(
            "matrix_product_split",
            include_str!("../../../shaders/matrix_product_split.wgsl"),
            threads,
        );
        let is_large = self.rows.min(self.columns) >= GROUP_TILE / 2;
        let is_skinny = threads <= SPLIT_THREADS_MAX && self.inner >= 4 * GROUP_THREADS;
        Kernel::new(source, &[self.rows, self.columns, self.inner], threads)
            .constant("TRANSPOSE_LEFT", self.transpose_left)
            .constant("TRANSPOSE_RIGHT", self.transpose_right)
            .constant("BIAS", self.bias.is_some())
            .constant("ACCUMULATE", self.accumulate)
            .variant(self.is_in_fours(), wide)
            .variant(self.is_in_fours() && widest.threads > GROUP_THREADS, widest)
            .variant(is_large, tiled)
            .variant(is_skinny, split)
    }
}

impl From<MatrixProduct> for Operation {
    /// Without a bias, right stands in its place, since a shader's bindings are always all there.
    fn from(this: MatrixProduct) -> Self {
        let right = (this.right, product([this.inner, this.columns]));
        let bias = this.bias.map_or(right, |bias| (bias, Some(this.columns)));
        Self::new(
            "matrix_product",
            [(this.left, product([this.rows, this.inner])), right, bias],
            [(this.output, product([this.rows, this.columns]))],
            this.kernel(),
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
    let split = Variant::of_groups(
        "column_sum_split",
        include_str!("../../../shaders/column_sum_split.wgsl"),
        columns.div_ceil(GROUP_COLUMNS),
    );
    Operation::new(
        "column_sum",
        [(input, product([rows, columns]))],
        [(output, Some(columns))],
        Kernel::new(source, &[rows, columns], columns).variant(rows > SUMMED_TOGETHER, split),
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
        Kernel::in_fours(source, elements),
        |[left, right], [output], _| cpu::add(left, right, output),
    )
}
