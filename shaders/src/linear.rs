//! Products with weight matrices: every way to add up with every kind of factors.

use crate::Binding::{Read, ReadWrite, Uniform};
use crate::{Binding, Kernel, Needs, kernel};

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Factors {
    /// F32 weights, F32 activations.
    Float,
    /// F16 or BF16 weights, F32 activations.
    Half,
    /// Weights in nibbles with scales, F32 activations.
    Nibble,
    /// Weights in bytes with scales, F32 activations.
    Byte,
    /// Weights in nibbles with scales, activations in bytes with scales.
    NibblePacked,
    /// Weights in bytes with scales, activations in bytes with scales.
    BytePacked,
}

impl Factors {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Float,
        Self::Half,
        Self::Nibble,
        Self::Byte,
        Self::NibblePacked,
        Self::BytePacked,
    ];

    /// Whether activations come from [`QUANTIZE_ROWS`].
    pub const fn is_packed(self) -> bool {
        matches!(self, Self::NibblePacked | Self::BytePacked)
    }
}

/// How products are added up; the text of each file says when it pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Adder {
    /// `matvec_row`: one thread to a row.
    Row,
    /// `matvec_row4`: one thread to four rows.
    Row4,
    /// `matvec_tree`: several threads to a row, sums meet in workgroup memory.
    Tree,
    /// `matvec_subgroup`: a subgroup to a row.
    Subgroup,
    /// `matmul_rows`: two rows and four tokens to a thread.
    Rows,
    /// `matmul_eight`: eight rows and eight tokens to a thread.
    Eight,
    /// `matmul_tile`: 32 rows and 32 tokens to a workgroup.
    Tile,
}

impl Adder {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Row,
        Self::Row4,
        Self::Tree,
        Self::Subgroup,
        Self::Rows,
        Self::Eight,
        Self::Tile,
    ];
}

const FLOATS: [Binding; 5] = [Uniform, Uniform, ReadWrite, Read, Read];
const CODES: [Binding; 6] = [Uniform, Uniform, ReadWrite, Read, Read, Read];

macro_rules! products {
    ($file:literal, [$($own:literal),*], $core:expr, $packed:expr) => {
        [
            kernel!(
                concat!($file, "_float"),
                ["linear", "product_float"],
                $file,
                FLOATS,
                ["GATE" $(, $own)*],
                $core
            ),
            kernel!(
                concat!($file, "_half"),
                ["linear", "product_half"],
                $file,
                FLOATS,
                ["GATE", "BRAIN" $(, $own)*],
                $core
            ),
            kernel!(
                concat!($file, "_nibble"),
                ["linear", "scales", "codes_nibble", "values", "product_f32"],
                $file,
                CODES,
                ["GATE", "SCALES", "GROUP", "ZERO", "OFFSETS" $(, $own)*],
                $core
            ),
            kernel!(
                concat!($file, "_byte"),
                ["linear", "scales", "codes_byte", "values", "product_f32"],
                $file,
                CODES,
                ["GATE", "SCALES", "GROUP", "ZERO", "OFFSETS" $(, $own)*],
                $core
            ),
            kernel!(
                concat!($file, "_nibble_packed"),
                ["linear", "scales", "codes_nibble", "product_packed"],
                $file,
                CODES,
                ["GATE", "SCALES", "GROUP", "ZERO" $(, $own)*],
                $packed
            ),
            kernel!(
                concat!($file, "_byte_packed"),
                ["linear", "scales", "codes_byte", "product_packed"],
                $file,
                CODES,
                ["GATE", "SCALES", "GROUP", "ZERO" $(, $own)*],
                $packed
            ),
        ]
    };
    ($file:literal, [$($own:literal),*]) => {
        products!($file, [$($own),*], Needs::Core, Needs::PackedDot)
    };
}

const ROW: [Kernel; 6] = products!("matvec_row", []);
const ROW4: [Kernel; 6] = products!("matvec_row4", []);
const TREE: [Kernel; 6] = products!("matvec_tree", ["SPAN"]);
const SUBGROUP: [Kernel; 6] = products!(
    "matvec_subgroup",
    [],
    Needs::Subgroups,
    Needs::SubgroupsAndPackedDot
);
const ROWS: [Kernel; 6] = products!("matmul_rows", []);
const TILE: [Kernel; 6] = products!("matmul_tile", []);

macro_rules! eight {
    ($name:literal, [$($part:literal),*], $bindings:expr, [$($own:literal),*]) => {
        kernel!(
            concat!("matmul_eight_", $name),
            ["linear", $($part),*],
            "matmul_eight",
            $bindings,
            ["GATE" $(, $own)*]
        )
    };
}

/// Both sides are made floats on their way into registers, so that packed activations need no
/// packed product.
const EIGHT: [Kernel; 6] = [
    eight!("float", ["pair", "pair_float"], FLOATS, []),
    eight!("half", ["pair", "pair_half"], FLOATS, ["BRAIN"]),
    eight!(
        "nibble",
        ["scales", "pair", "pair_weights_nibble", "pair_inputs_float"],
        CODES,
        ["SCALES", "GROUP", "ZERO"]
    ),
    eight!(
        "byte",
        ["scales", "pair", "pair_weights_byte", "pair_inputs_float"],
        CODES,
        ["SCALES", "GROUP", "ZERO"]
    ),
    eight!(
        "nibble_packed",
        [
            "scales",
            "pair",
            "pair_weights_nibble",
            "pair_inputs_packed"
        ],
        CODES,
        ["SCALES", "GROUP", "ZERO"]
    ),
    eight!(
        "byte_packed",
        ["scales", "pair", "pair_weights_byte", "pair_inputs_packed"],
        CODES,
        ["SCALES", "GROUP", "ZERO"]
    ),
];

/// The kernel that adds up products of `factors` the way of `adder`.
pub const fn linear(adder: Adder, factors: Factors) -> Kernel {
    let kernels = match adder {
        Adder::Row => ROW,
        Adder::Row4 => ROW4,
        Adder::Tree => TREE,
        Adder::Subgroup => SUBGROUP,
        Adder::Rows => ROWS,
        Adder::Eight => EIGHT,
        Adder::Tile => TILE,
    };
    kernels[factors as usize]
}

/// Activations in signed bytes with a scale for every 32 columns.
pub const QUANTIZE_ROWS: Kernel = kernel!(
    "quantize_rows",
    [],
    "quantize_rows",
    [Uniform, Uniform, Read, ReadWrite],
    []
);

/// How a table of embeddings is kept; indexes [`EMBED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbedFormat {
    /// F32.
    Float,
    /// F16 or BF16.
    Half,
    /// Nibbles with scales.
    Nibble,
    /// Bytes with scales.
    Byte,
}

/// Rows of a table of embeddings, by [`EmbedFormat`].
pub const EMBED: [Kernel; 4] = [
    kernel!(
        "embed_float",
        ["rows", "embed"],
        "embed_float",
        [Uniform, Uniform, ReadWrite, Read, Read],
        []
    ),
    kernel!(
        "embed_half",
        ["rows", "embed"],
        "embed_half",
        [Uniform, Uniform, ReadWrite, Read, Read],
        ["BRAIN"]
    ),
    kernel!(
        "embed_codes_nibble",
        ["rows", "embed", "scales", "codes_nibble", "values"],
        "embed_codes",
        [Uniform, Uniform, ReadWrite, Read, Read, Read],
        ["SCALES", "GROUP", "ZERO"]
    ),
    kernel!(
        "embed_codes_byte",
        ["rows", "embed", "scales", "codes_byte", "values"],
        "embed_codes",
        [Uniform, Uniform, ReadWrite, Read, Read, Read],
        ["SCALES", "GROUP", "ZERO"]
    ),
];
