//! Matrix products, register-tiled.
//!
//! Each output is a sum over K in order: blocks of [`BLOCK`] products are summed one by one, and the blocks are added up.
//! That order does not depend on the width of vectors, on the tiling, or on which operand is transposed. Whether a product is
//! rounded before it is added is the run's choice ([`Arithmetic`]); without fused multiply-add the bits are the same everywhere.
//!
//! Both operands are copied, one block of K at a time: the left one into strips of [`ROWS`] rows, the right one by `LANES`
//! columns into a panel that stays in the first cache level. The strips stream past it into accumulators that stay in registers
//! (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, with one level of blocking).

use super::Scratch;
use crate::operations::MatrixProduct;
use crate::platform::{TILE_ROWS, VectorTask, fuses, run_vectorised};
use crate::recording::Arithmetic;

/// Rows of the output that a tile has; two vectors of columns are its columns.
const ROWS: usize = TILE_ROWS;

/// Products that are summed before the sum goes to memory: a panel of 16 columns is then 16 KiB, half of a first-level cache,
/// and one of 32 columns 32 KiB, where caches with AVX-512 have 48.
const BLOCK: usize = 256;

/// What multiplies: memory for copies of the operands, kept from one product to the next, and whether it fuses.
#[derive(Debug, Default)]
pub(super) struct Multiplier {
    panel: Vec<f32>,
    strips: Vec<f32>,
    fused: bool,
}

impl Multiplier {
    /// One that rounds as asked, as far as this CPU can.
    pub(super) fn new(arithmetic: Arithmetic) -> Self {
        Self {
            fused: arithmetic == Arithmetic::Fused && fuses(),
            ..Self::default()
        }
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> u64 {
        4 * (self.panel.capacity() + self.strips.capacity()) as u64
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
    /// From one row of the output to the next.
    pub(super) stride: usize,
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
    let sizes = Sizes {
        rows,
        columns,
        inner,
        stride: columns,
        add,
    };
    multiply(sizes, left, right, output, &mut scratch.multiplier);
}

/// output = left right, or += left right. Of each operand, rows or columns must be contiguous.
pub(super) fn multiply(
    sizes: Sizes,
    left: Matrix<'_>,
    right: Matrix<'_>,
    output: &mut [f32],
    multiplier: &mut Multiplier,
) {
    run_vectorised(Product {
        sizes,
        left,
        right,
        output,
        multiplier,
    });
}

struct Product<'a> {
    sizes: Sizes,
    left: Matrix<'a>,
    right: Matrix<'a>,
    output: &'a mut [f32],
    multiplier: &'a mut Multiplier,
}

impl VectorTask for Product<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        if self.multiplier.fused {
            self.by_blocks::<LANES, true>();
        } else {
            self.by_blocks::<LANES, false>();
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn by_blocks<const LANES: usize, const FUSED: bool>(self) {
        let Sizes {
            rows,
            columns,
            inner,
            stride,
            add,
        } = self.sizes;
        let Multiplier { panel, strips, .. } = self.multiplier;
        panel.resize(BLOCK * LANES, 0.0);
        let (panel, _) = panel.as_chunks_mut::<LANES>();
        strips.resize(rows.next_multiple_of(ROWS) * BLOCK.min(inner), 0.0);
        let (strips, _) = strips.as_chunks_mut::<ROWS>();
        for k in (0..inner).step_by(BLOCK) {
            let depth = BLOCK.min(inner - k);
            let panel = &mut panel[..depth];
            let add = add || k > 0;
            for (strip, row) in strips.chunks_exact_mut(depth).zip((0..rows).step_by(ROWS)) {
                let height = ROWS.min(rows - row);
                pack(self.left.transposed(), k, row, height, strip);
            }
            for column in (0..columns).step_by(LANES) {
                let width = LANES.min(columns - column);
                pack(self.right, k, column, width, panel);
                for (strip, row) in strips.chunks_exact(depth).zip((0..rows).step_by(ROWS)) {
                    let height = ROWS.min(rows - row);
                    let tile = tile::<LANES, FUSED>(panel, strip);
                    let output = &mut self.output[row * stride + column..];
                    store(&tile[..height], output, stride, width, add);
                }
            }
        }
    }
}

/// Copies `width` columns of a matrix from row `k` on into a panel; the panel's further columns become zero. A strip of rows is
/// a panel of the transposed matrix.
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

/// The sums over a panel (K, LANES) and a strip (K, ROWS): a tile (ROWS, LANES).
#[inline(always)]
fn tile<const LANES: usize, const FUSED: bool>(
    panel: &[[f32; LANES]],
    strip: &[[f32; ROWS]],
) -> [[f32; LANES]; ROWS] {
    let mut tile = [[0.0; LANES]; ROWS];
    for (right, left) in panel.iter().zip(strip) {
        for (sums, left) in tile.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = if FUSED {
                    left.mul_add(*right, *sum)
                } else {
                    *sum + left * right
                };
            }
        }
    }
    tile
}

/// Writes or adds the first `width` columns of a tile to the output, from its first number on.
#[inline(always)]
fn store<const LANES: usize>(
    tile: &[[f32; LANES]],
    output: &mut [f32],
    stride: usize,
    width: usize,
    add: bool,
) {
    for (i, sums) in tile.iter().enumerate() {
        let output = &mut output[i * stride..][..width];
        // A whole row stays in registers.
        match output.first_chunk_mut::<LANES>() {
            Some(output) if add => plus(output, sums),
            Some(output) => *output = *sums,
            None if add => plus(output, &sums[..width]),
            None => output.copy_from_slice(&sums[..width]),
        }
    }
}

#[inline(always)]
fn plus(output: &mut [f32], sums: &[f32]) {
    let pairs = output.iter_mut().zip(sums);
    pairs.for_each(|(output, sum)| *output += sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{BufferId, View};

    /// Runs a product at one width, whatever this CPU would take.
    fn at_width<const LANES: usize>(
        fused: bool,
        (rows, columns, inner): (usize, usize, usize),
    ) -> Vec<f32> {
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) * 1e-3;
        let (left, right): (Vec<_>, Vec<_>) = (
            (0..rows * inner).map(number).collect(),
            (0..inner * columns).map(number).collect(),
        );
        let mut output = vec![0.5; rows * columns];
        Product {
            sizes: Sizes {
                rows,
                columns,
                inner,
                stride: columns,
                add: true,
            },
            left: Matrix::rows(&left, inner),
            right: Matrix::rows(&right, columns),
            output: &mut output,
            multiplier: &mut Multiplier {
                fused,
                ..Multiplier::default()
            },
        }
        .run::<LANES>();
        output
    }

    #[test]
    fn the_width_of_vectors_does_not_change_a_bit() {
        let bits = |sums: Vec<f32>| sums.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        for sizes in [(1, 1, 1), (5, 37, 300), (33, 10, 784), (4, 16, 256)] {
            for fused in [false, true] {
                let narrow = bits(at_width::<1>(fused, sizes));
                let others = [
                    at_width::<8>(fused, sizes),
                    at_width::<16>(fused, sizes),
                    at_width::<32>(fused, sizes),
                ];
                for other in others {
                    assert_eq!(narrow, bits(other), "{sizes:?}, fused {fused}");
                }
            }
        }
    }

    #[test]
    fn fused_sums_differ_by_no_more_than_rounding() {
        let sizes = (5, 37, 300);
        let (fused, portable) = (at_width::<8>(true, sizes), at_width::<8>(false, sizes));
        assert_ne!(fused, portable, "not fused");
        for (fused, portable) in fused.iter().zip(&portable) {
            // Sums of 300 products of at most 0.26, each rounded by at most half a unit of a sum of at most 77.
            let bound = 300.0 * 77.0 * f32::EPSILON;
            assert!((fused - portable).abs() < bound, "{fused} and {portable}");
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
