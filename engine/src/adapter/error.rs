//! Why an adapter is refused.

use crate::gguf::GgufError;
use crate::safetensors::SafetensorsError;

/// What is wrong with an adapter, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file with the numbers is not safetensors.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// The file is not GGUF.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// `adapter_config.json` is not the JSON that it should be.
    #[error("adapter_config.json is not what it should be: {reason}")]
    BadConfig {
        /// What the JSON reader says.
        reason: String,
    },
    /// A setting whose value cannot be.
    #[error("{key} is {value}, not {expected}")]
    BadSetting {
        /// The setting.
        key: String,
        /// What it is.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// Something that would change the result and is not computed here.
    #[error("the adapter uses {what}, which is not supported: {reason}")]
    Unsupported {
        /// The setting or the tensor.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// An adapter for models of another architecture.
    #[error("the adapter is for {adapter} models and the model is {model}")]
    WrongArchitecture {
        /// What the adapter's file says.
        adapter: String,
        /// What the model is.
        model: String,
    },
    /// A tensor that is no half of a pair.
    #[error("tensor {tensor} is no half of a low-rank pair")]
    UnknownTensor {
        /// Its name.
        tensor: String,
    },
    /// A matrix that the model does not have, or that takes no adapter.
    #[error("tensor {tensor}: a {architecture} model has no {target} that takes an adapter")]
    UnknownTarget {
        /// The tensor's name.
        tensor: String,
        /// The matrix it is for.
        target: String,
        /// What the model is.
        architecture: String,
    },
    /// A layer beyond the model's last: an adapter for a deeper model.
    #[error("tensor {tensor} is for layer {layer} and the model has {n_layers}")]
    NoSuchLayer {
        /// The tensor's name.
        tensor: String,
        /// Which layer, from 0.
        layer: usize,
        /// How many there are.
        n_layers: usize,
    },
    /// Two tensors for the same half of a pair.
    #[error("tensors {first} and {second} are the same half of a pair")]
    SameHalf {
        /// The one that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// One half of a pair without the other.
    #[error("tensor {tensor} has no counterpart: the pair's {missing} is not there")]
    HalfMissing {
        /// The half that is there.
        tensor: String,
        /// `A` or `B`.
        missing: char,
    },
    /// A tensor that is not a matrix.
    #[error("tensor {tensor} of shape {shape:?} is not a matrix")]
    NotAMatrix {
        /// Its name.
        tensor: String,
        /// Its dimensions, slowest first.
        shape: Vec<u64>,
    },
    /// A shape that does not fit the model's matrix: an adapter for another base.
    #[error("tensor {tensor} is {found:?} and this model asks for {expected:?}")]
    WrongShape {
        /// Its name.
        tensor: String,
        /// Rows and columns there are.
        found: [u64; 2],
        /// Rows and columns that the model's matrix and the pair's rank ask for.
        expected: [u64; 2],
    },
    /// A rank of 0 or beyond the bound.
    #[error("tensor {tensor} has rank {rank}: between 1 and {max} is accepted")]
    BadRank {
        /// The `A` of the pair.
        tensor: String,
        /// Its rank.
        rank: u64,
        /// The bound.
        max: usize,
    },
    /// A number that is not one.
    #[error("tensor {tensor}: number {index} is not finite")]
    NotFinite {
        /// Its name.
        tensor: String,
        /// Which number, row by row from 0.
        index: usize,
    },
    /// There is no pair in it.
    #[error("the adapter has no tensors")]
    Empty,
    /// An adapter of that id is not kept.
    #[error("there is no adapter {id}")]
    UnknownId {
        /// The id.
        id: u32,
    },
    /// The same adapter twice for one sequence.
    #[error("adapter {id} is in the stack twice")]
    StackedTwice {
        /// The id.
        id: u32,
    },
    /// A factor that is no number, or beyond the bound.
    #[error("the factor of adapter {id} is {factor}, not a number between -65536 and 65536")]
    BadFactor {
        /// The id.
        id: u32,
        /// The factor.
        factor: f32,
    },
    /// More adapters at once than are applied.
    #[error("a stack of {adapters} adapters: at most {max} are applied at once")]
    StackTooHigh {
        /// How many were asked for.
        adapters: usize,
        /// The bound.
        max: usize,
    },
    /// More adapters than are kept.
    #[error("{max} adapters are kept already")]
    TooManyAdapters {
        /// The bound.
        max: usize,
    },
    /// The adapter does not fit beside those that are kept.
    #[error(
        "the adapter takes {needed_bytes} bytes, and of {max_bytes} for adapters {used_bytes} are \
         in use"
    )]
    DoesNotFit {
        /// What it takes.
        needed_bytes: u64,
        /// What the others take.
        used_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
}
