//! Matrix products, register-tiled.
//!
//! Each output is a sum over K in order: blocks of [`BLOCK`] products are summed one by one, and the blocks are added up.
//! That order does not depend on the width of vectors, on the tiling, or on which operand is transposed, and products are
//! rounded before they are added (no fused multiply-add, which some devices lack). Hence the same bits everywhere.
//!
//! The right operand is copied, one block of K by `LANES` columns at a time, into a panel that stays in the first cache
//! level; rows of the left operand stream past it, [`ROWS`] at a time, into accumulators that stay in registers
//! (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, with one level of blocking).

use super::Scratch;
use crate::operations::MatrixProduct;
use crate::platform::{VectorTask, run_vectorised};
use std::array::from_fn;

/// Rows of the output that a tile has: with two vectors of columns, 8 accumulators, half of the registers of SSE2 and AVX2, a quarter of AVX-512's.
const ROWS: usize = 4;

/// Products that are summed before the sum goes to memory: a panel of 16 columns is then 16 KiB, half of a first-level cache,
/// and one of 32 columns 32 KiB, where caches with AVX-512 have 48.
const BLOCK: usize = 256;

/// Memory for copies of the operands, kept from one product to the next.
#[derive(Debug, Default)]
pub(super) struct Packing {
    panel: Vec<f32>,
    left: Vec<f32>,
}

impl Packing {
    /// Bytes taken.
    pub(super) fn bytes(&self) -> u64 {
        4 * (self.panel.capacity() + self.left.capacity()) as u64
    }
}

/// A matrix in memory: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that follow each other at a distance of `stride` numbers.
    pub(super) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row_stride: stride,
            column_stride: 1,
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// The sizes of a product: left is (rows, inner), right (inner, columns).
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    /// From one row of the output to the next, and from one column to the next.
    pub(super) strides: (usize, usize),
    /// Whether the product is added to the output.
    pub(super) add: bool,
}

/// output (M, N) = op(left) op(right) + bias, or += op(left) op(right); see [`MatrixProduct`].
pub(crate) fn matrix_product(
    product: &MatrixProduct,
    left: &[f32],
    right: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let MatrixProduct {
        rows,
        columns,
        inner,
        transpose_left,
        transpose_right,
        accumulate,
        ..
    } = *product;
    if let Some(bias) = bias {
        output
            .chunks_exact_mut(columns)
            .for_each(|row| row.copy_from_slice(bias));
    }
    let add = accumulate || bias.is_some();
    let left = if transpose_left {
        Matrix::rows(left, rows).transposed()
    } else {
        Matrix::rows(left, inner)
    };
    let right = if transpose_right {
        Matrix::rows(right, inner).transposed()
    } else {
        Matrix::rows(right, columns)
    };
    // Rows of the streamed operand must be contiguous along K. A transposed right operand has such rows, and is mostly the
    // large one (weights), so it is streamed and the transposed output computed.
    let (sizes, left, right) = if transpose_right {
        let sizes = Sizes {
            rows: columns,
            columns: rows,
            inner,
            strides: (1, columns),
            add,
        };
        (sizes, right.transposed(), left.transposed())
    } else {
        let strides = (columns, 1);
        let sizes = Sizes {
            rows,
            columns,
            inner,
            strides,
            add,
        };
        (sizes, left, right)
    };
    multiply(sizes, left, right, output, &mut scratch.product);
}

/// output = left right, or += left right. Of each operand, rows or columns must be contiguous.
pub(super) fn multiply(
    sizes: Sizes,
    left: Matrix<'_>,
    right: Matrix<'_>,
    output: &mut [f32],
    packing: &mut Packing,
) {
    let Sizes {
        rows,
        columns,
        inner,
        strides,
        add,
    } = sizes;
    run_vectorised(Product {
        rows,
        columns,
        inner,
        left,
        right,
        output,
        strides,
        add,
        packing,
    });
}

/// output = left right, or += if `add`, with the output's strides.
struct Product<'a> {
    rows: usize,
    columns: usize,
    inner: usize,
    left: Matrix<'a>,
    right: Matrix<'a>,
    output: &'a mut [f32],
    strides: (usize, usize),
    add: bool,
    packing: &'a mut Packing,
}

impl VectorTask for Product<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Packing {
            panel,
            left: left_copy,
        } = self.packing;
        panel.resize(BLOCK * LANES, 0.0);
        let (panel, _) = panel.as_chunks_mut::<LANES>();
        for k in (0..self.inner).step_by(BLOCK) {
            let depth = BLOCK.min(self.inner - k);
            let panel = &mut panel[..depth];
            let add = self.add || k > 0;
            let (left, stride) = contiguous_rows(self.left, self.rows, k..k + depth, left_copy);
            for column in (0..self.columns).step_by(LANES) {
                let width = LANES.min(self.columns - column);
                pack(self.right, k, column, width, panel);
                for row in (0..self.rows).step_by(ROWS) {
                    let height = ROWS.min(self.rows - row);
                    // Rows past the end repeat the last one; their sums are not stored.
                    let rows = from_fn(|i| &left[(row + i.min(height - 1)) * stride..][..depth]);
                    let tile = tile(panel, rows);
                    store(
                        &tile[..height],
                        self.output,
                        self.strides,
                        (row, column),
                        width,
                        add,
                    );
                }
            }
        }
    }
}

/// The columns `range` of a matrix, as rows that are contiguous, and the distance between these; copied only if need be.
#[inline(always)]
fn contiguous_rows<'a>(
    matrix: Matrix<'a>,
    rows: usize,
    range: std::ops::Range<usize>,
    copy: &'a mut Vec<f32>,
) -> (&'a [f32], usize) {
    if matrix.column_stride == 1 {
        return (&matrix.data[range.start..], matrix.row_stride);
    }
    let depth = range.len();
    copy.resize(rows * depth, 0.0);
    for (p, k) in range.enumerate() {
        let column = &matrix.data[k * matrix.column_stride..][..rows];
        copy[p..]
            .iter_mut()
            .step_by(depth)
            .zip(column)
            .for_each(|(copy, value)| *copy = *value);
    }
    (copy, depth)
}

/// Copies `width` columns of a matrix from row `k` on into a panel; the panel's further columns become zero.
#[inline(always)]
fn pack<const LANES: usize>(
    matrix: Matrix<'_>,
    k: usize,
    column: usize,
    width: usize,
    panel: &mut [[f32; LANES]],
) {
    if width < LANES {
        panel.fill([0.0; LANES]);
    }
    if matrix.column_stride == 1 {
        for (p, lanes) in panel.iter_mut().enumerate() {
            let row = &matrix.data[(k + p) * matrix.row_stride + column..][..width];
            match row.first_chunk::<LANES>() {
                Some(row) => *lanes = *row,
                None => lanes[..width].copy_from_slice(row),
            }
        }
    } else {
        for j in 0..width {
            let values = &matrix.data[(column + j) * matrix.column_stride + k..][..panel.len()];
            panel
                .iter_mut()
                .zip(values)
                .for_each(|(lanes, value)| lanes[j] = *value);
        }
    }
}

/// The sums over a panel (K, LANES) and the same stretch of [`ROWS`] rows: a tile (ROWS, LANES).
#[inline(always)]
fn tile<const LANES: usize>(panel: &[[f32; LANES]], rows: [&[f32]; ROWS]) -> [[f32; LANES]; ROWS] {
    let mut tile = [[0.0; LANES]; ROWS];
    let [a, b, c, d] = rows;
    for ((((lanes, a), b), c), d) in panel.iter().zip(a).zip(b).zip(c).zip(d) {
        for j in 0..LANES {
            tile[0][j] += a * lanes[j];
            tile[1][j] += b * lanes[j];
            tile[2][j] += c * lanes[j];
            tile[3][j] += d * lanes[j];
        }
    }
    tile
}

/// Writes or adds the first `width` columns of a tile to the output at (row, column).
#[inline(always)]
fn store<const LANES: usize>(
    tile: &[[f32; LANES]],
    output: &mut [f32],
    (row_stride, column_stride): (usize, usize),
    (row, column): (usize, usize),
    width: usize,
    add: bool,
) {
    for (i, sums) in tile.iter().enumerate() {
        let start = (row + i) * row_stride + column * column_stride;
        let outputs = output[start..]
            .iter_mut()
            .step_by(column_stride)
            .zip(&sums[..width]);
        if add {
            outputs.for_each(|(output, sum)| *output += sum);
        } else {
            outputs.for_each(|(output, sum)| *output = *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{BufferId, View};

    /// Runs a product at one width, whatever this CPU would take.
    fn at_width<const LANES: usize>(rows: usize, columns: usize, inner: usize) -> Vec<u32> {
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) * 1e-3;
        let (left, right): (Vec<_>, Vec<_>) = (
            (0..rows * inner).map(number).collect(),
            (0..inner * columns).map(number).collect(),
        );
        let mut output = vec![0.5; rows * columns];
        let left = Matrix {
            data: &left,
            row_stride: inner,
            column_stride: 1,
        };
        let right = Matrix {
            data: &right,
            row_stride: columns,
            column_stride: 1,
        };
        let (packing, strides) = (&mut Packing::default(), (columns, 1));
        let output_slice = &mut output;
        Product {
            rows,
            columns,
            inner,
            left,
            right,
            output: output_slice,
            strides,
            add: true,
            packing,
        }
        .run::<LANES>();
        output.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn the_width_of_vectors_does_not_change_a_bit() {
        for (rows, columns, inner) in [(1, 1, 1), (5, 37, 300), (33, 10, 784), (4, 16, 256)] {
            let narrow = at_width::<1>(rows, columns, inner);
            assert_eq!(
                narrow,
                at_width::<8>(rows, columns, inner),
                "{rows} x {columns} x {inner}"
            );
            assert_eq!(
                narrow,
                at_width::<16>(rows, columns, inner),
                "{rows} x {columns} x {inner}"
            );
            assert_eq!(
                narrow,
                at_width::<32>(rows, columns, inner),
                "{rows} x {columns} x {inner}"
            );
        }
    }

    #[test]
    fn products_of_transposed_operands_are_those_of_the_plain_ones_bit_for_bit() {
        let (rows, columns, inner) = (7, 19, 301);
        let number = |i: usize, j: usize| ((i * 31 + j * 17) % 101) as f32 * 0.37 - 18.0;
        let view = View {
            buffer: BufferId(0),
            offset: 0,
            elements: 0,
        };
        let run = |transpose_left: bool, transpose_right: bool| {
            let fill = |n: usize, m: usize, transposed: bool| -> Vec<f32> {
                let at = |i| {
                    if transposed {
                        number(i % n, i / n)
                    } else {
                        number(i / m, i % m)
                    }
                };
                (0..n * m).map(at).collect()
            };
            let (left, right) = (
                fill(rows, inner, transpose_left),
                fill(inner, columns, transpose_right),
            );
            let product = MatrixProduct {
                left: view,
                right: view,
                bias: None,
                output: view,
                rows,
                columns,
                inner,
                transpose_left,
                transpose_right,
                accumulate: false,
            };
            let mut output = vec![f32::NAN; rows * columns];
            matrix_product(
                &product,
                &left,
                &right,
                None,
                &mut output,
                &mut Scratch::default(),
            );
            output
        };
        let plain = run(false, false);
        let exact: f64 = (0..inner)
            .map(|k| f64::from(number(3, k)) * f64::from(number(k, 11)))
            .sum();
        assert!((f64::from(plain[3 * columns + 11]) - exact).abs() < 1e-5 * exact.abs().max(1e4));
        for (left, right) in [(false, true), (true, false), (true, true)] {
            assert_eq!(plain, run(left, right), "transposed: {left} {right}");
        }
    }
}
