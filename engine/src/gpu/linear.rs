//! Products with weight matrices: which kernels can do one, and how each is dispatched.

use thrum_shaders::{Adder, THREADS, linear};

use crate::gpu::bind::{Constants, Sketch, Uniforms};
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Across, Grid, Step};
use crate::gpu::layout::Layout;
use crate::gpu::tensor::{GpuTensor, Piece};

/// What is done to two halves of a product; the numbers are those of `linear.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Gate {
    /// Nothing: there are no halves.
    None = 0,
    /// `silu(first) * second`.
    Silu = 1,
    /// `gelu(first) * second`, in its tanh form.
    Gelu = 2,
}

/// One way to compute a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) adder: Adder,
    /// Activations in bytes instead of floats.
    pub(super) is_packed: bool,
    /// Threads that share a row, for [`Adder::Tree`].
    pub(super) span: u32,
}

impl Way {
    const fn new(adder: Adder, is_packed: bool) -> Self {
        Self {
            adder,
            is_packed,
            span: 16,
        }
    }

    const fn wide(is_packed: bool) -> Self {
        Self {
            adder: Adder::Tree,
            is_packed,
            span: THREADS,
        }
    }
}

/// Every way for few tokens.
const FEW: [Way; 10] = [
    Way::new(Adder::Row, false),
    Way::new(Adder::Row, true),
    Way::new(Adder::Row4, false),
    Way::new(Adder::Row4, true),
    Way::new(Adder::Subgroup, false),
    Way::new(Adder::Subgroup, true),
    Way::new(Adder::Tree, false),
    Way::new(Adder::Tree, true),
    Way::wide(false),
    Way::wide(true),
];

/// Every way for many tokens.
const MANY: [Way; 6] = [
    Way::new(Adder::Rows, false),
    Way::new(Adder::Rows, true),
    Way::new(Adder::Eight, false),
    Way::new(Adder::Eight, true),
    Way::new(Adder::Tile, false),
    Way::new(Adder::Tile, true),
];

/// The ways in which `device` can multiply a matrix of `layout`; the first is always there.
pub(super) fn ways(device: &GpuDevice, layout: Layout, gate: Gate, is_many: bool) -> Vec<Way> {
    let all: &[Way] = if is_many { &MANY } else { &FEW };
    all.iter()
        .copied()
        .filter(|way| match layout.factors(way.is_packed) {
            Some(factors) => device.can(linear(way.adder, factors).needs),
            None => false,
        })
        .filter(|way| gate == Gate::None || way.adder != Adder::Row4)
        .collect()
}

/// Where a product goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) y: &'a wgpu::Buffer,
    /// Column of y in which the first row of the matrix ends.
    pub(super) start: usize,
    /// Columns of y.
    pub(super) cols: usize,
    pub(super) accumulate: bool,
}

/// The steps that multiply `w` with `x`, which is packed if `way` says so: one for each piece.
#[expect(
    clippy::too_many_arguments,
    reason = "they are the operands of one operation"
)]
pub(super) fn product(
    device: &GpuDevice,
    uniforms: &mut Uniforms,
    way: Way,
    w: &GpuTensor,
    gate: Gate,
    batch: &wgpu::Buffer,
    x: &wgpu::Buffer,
    output: Output<'_>,
) -> Vec<Step> {
    assert!(
        gate == Gate::None || (w.pieces.len() == 1 && w.rows.is_multiple_of(2)),
        "a gate and its factor are in one piece"
    );
    let factors = w
        .layout
        .factors(way.is_packed)
        .expect("ways() offers what the layout has");
    let kernel = linear(way.adder, factors);
    let mut constants: Constants = w.layout.constants();
    constants.push(("GATE", gate as u32));
    constants.push(("SPAN", way.span));
    let mut step = |piece: &Piece| {
        let rows = match gate {
            Gate::None => piece.rows,
            Gate::Silu | Gate::Gelu => piece.rows / 2,
        };
        let params = uniforms.of(
            device,
            &[
                rows as u32,
                w.blocks(),
                piece.supers_at,
                rows as u32,
                (output.start + piece.first_row) as u32,
                output.cols as u32,
                u32::from(output.accumulate),
            ],
        );
        let mut buffers = vec![
            params,
            batch.clone(),
            output.y.clone(),
            x.clone(),
            piece.codes.clone(),
        ];
        buffers.extend(piece.scales.clone());
        Step {
            sketch: Sketch {
                kernel,
                constants: constants.clone(),
                buffers,
            },
            grid: grid(way, rows),
        }
    };
    w.pieces.iter().map(&mut step).collect()
}

fn grid(way: Way, rows: usize) -> Grid {
    let per = |rows_of_group: u32| (rows as u32).div_ceil(rows_of_group);
    match way.adder {
        Adder::Row => Grid::new(per(THREADS), Across::Token),
        Adder::Row4 => Grid::new(per(4 * THREADS), Across::Token),
        // Workgroups beyond the limit go along z.
        Adder::Tree => Grid::folded(per(THREADS / way.span), Across::Token),
        // Subgroups take rows in turns: one workgroup for every four rows at most.
        Adder::Subgroup => Grid::new(per(4).min(Grid::MOST), Across::Token),
        Adder::Rows => Grid::new(per(2 * THREADS), Across::Tokens(4)),
        Adder::Eight => Grid::new(per(8 * THREADS), Across::Tokens(8)),
        Adder::Tile => Grid::new(per(32), Across::Tokens(32)),
    }
}
