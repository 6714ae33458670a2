//! The engine's one error: what was asked, what stood in the way, and the numbers.

use crate::adapter::AdapterError;
use crate::chat::ChatError;
use crate::constraint::ConstraintError;
use crate::gguf::GgufError;
use crate::tokenizer::TokenizerError;

/// Why the engine could not load a model or produce a token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An adapter, or a stack of them, was refused.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The chat template could not be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The answer cannot be constrained as asked.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The tokenizer in the file, or a text, was refused.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model file was refused.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The model and its KV cache do not fit in the memory that the caller allows.
    #[error(
        "the model needs {needed_bytes} bytes of memory ({weight_bytes} for weights, {kv_bytes} \
         for a context of {context_len} tokens, the rest for working space) and \
         {available_bytes} are available"
    )]
    DoesNotFit {
        /// Everything together, in bytes.
        needed_bytes: u64,
        /// Of which weights.
        weight_bytes: u64,
        /// Of which keys and values.
        kv_bytes: u64,
        /// Positions that the cache was to hold.
        context_len: usize,
        /// What the caller said there is.
        available_bytes: u64,
    },
    /// The allocator refused.
    #[error("no memory for the {needed_bytes} bytes of {what}")]
    OutOfMemory {
        /// What was to be kept there.
        what: String,
        /// Its size.
        needed_bytes: u64,
    },
    /// A weight matrix of a shape that its format cannot have, or that is too large to index.
    #[error(
        "{format} weights come in blocks of {block_len}, and a matrix of {rows} rows of {cols} is \
         not made of them"
    )]
    MatrixShape {
        /// The format's name.
        format: &'static str,
        /// Rows.
        rows: usize,
        /// Weights in a row.
        cols: usize,
        /// Weights in a block of the format.
        block_len: usize,
    },
    /// A weight matrix got more bytes than it has, fewer, or part of a block.
    #[error("a matrix of {needed_bytes} bytes had {had_bytes} and was given {pushed_bytes} more")]
    MatrixBytes {
        /// In the last piece.
        pushed_bytes: usize,
        /// Before it.
        had_bytes: u64,
        /// Altogether.
        needed_bytes: u64,
    },
    /// A worker that computes a part of the model went away or failed.
    #[error("worker {} of those that compute was lost: {reason}", member + 2)]
    MemberLost {
        /// Which; the leader, worker 1, is not counted.
        member: usize,
        /// What is known.
        reason: String,
    },
    /// A worker was asked for rows that it does not hold.
    #[error("a worker does not hold its rows of matrix {matrix}")]
    UnknownMatrix {
        /// Its number among those that are shared.
        matrix: u32,
    },
    /// The prompt (with the tokens it resumes from) leaves no room for an answer.
    #[error("the prompt has {prompt_tokens} tokens and the context holds {context_len}")]
    PromptTooLong {
        /// Tokens in the prompt, resumed ones included.
        prompt_tokens: usize,
        /// Positions in the KV cache.
        context_len: usize,
    },
    /// A generation needs at least one token to start from.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// More tokens in one forward pass than the model takes at once.
    #[error("a forward pass takes 1 to {max_tokens} tokens, not {tokens}")]
    BatchSize {
        /// Tokens given.
        tokens: usize,
        /// Tokens allowed.
        max_tokens: usize,
    },
    /// A forward pass would leave a hole in the KV cache or run past its end.
    #[error(
        "{tokens} tokens cannot start at position {start_pos}: the cache is filled up to \
         {cached_len} of {context_len}"
    )]
    Position {
        /// First position asked for.
        start_pos: usize,
        /// Tokens given.
        tokens: usize,
        /// Positions filled so far.
        cached_len: usize,
        /// Positions in all.
        context_len: usize,
    },
    /// The cache has no room for more positions, whoever holds them.
    #[error(
        "the cache has room for {free_positions} of the {needed_positions} further positions \
         needed, {max_positions} in all"
    )]
    CacheFull {
        /// Positions that were to be added, in whole pages.
        needed_positions: usize,
        /// Positions that are free.
        free_positions: usize,
        /// Positions that the cache holds.
        max_positions: usize,
    },
    /// Too many sequences are open.
    #[error("{max_sequences} sequences are open, and no more can be")]
    TooManySequences {
        /// How many may be.
        max_sequences: usize,
    },
    /// A sequence that is not open.
    #[error("the sequence is not open")]
    UnknownSequence,
    /// The model only embeds, or only continues texts, and was asked for the other.
    #[error("the model cannot {task}: its architecture is {architecture}")]
    WrongTask {
        /// What was asked.
        task: &'static str,
        /// `general.architecture`.
        architecture: &'static str,
    },
    /// A token id that the vocabulary does not have.
    #[error("token {token} is not in a vocabulary of {vocab_size}")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Ids below this exist.
        vocab_size: usize,
    },
    /// The model answered with something that is not a number.
    #[error("the logits for token {index} of the answer are not finite")]
    LogitsNotFinite {
        /// Place in the answer, from 0.
        index: usize,
    },
    /// No token may come next: what constrains the answer and the vocabulary have none in common.
    #[error("no token of the vocabulary may be token {index} of the answer")]
    NothingAllowed {
        /// Place in the answer, from 0.
        index: usize,
    },
    /// A parameter of the request is out of range.
    #[error("{name} is {value}; it must be {expected}")]
    BadParameter {
        /// The parameter.
        name: &'static str,
        /// What it was.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// The adapter cannot hold a buffer of the size that the model needs.
    #[error("{what} needs a buffer of {needed_bytes} bytes and the gpu offers {available_bytes}")]
    GpuBufferTooLarge {
        /// What the buffer is for: a tensor's name, or `keys`, `attention scores`, ...
        what: String,
        /// Its size in bytes.
        needed_bytes: u64,
        /// The largest that the adapter binds, in bytes.
        available_bytes: u64,
    },
    /// The kernels read vectors, and the model's sizes do not divide into them.
    #[error("{what} is {value}, and on the gpu it has to be a multiple of {multiple}")]
    GpuShape {
        /// Which size.
        what: &'static str,
        /// What the model has.
        value: usize,
        /// What it would have to divide by.
        multiple: usize,
    },
    /// The kernels do not read a format that the model uses.
    #[error("tensor {tensor:?} is of type {format}, which the gpu kernels do not read")]
    GpuFormat {
        /// The tensor's name.
        tensor: String,
        /// As GGUF calls it.
        format: &'static str,
    },
    /// There is no GPU that can run the kernels.
    #[error("no usable gpu: {reason}")]
    GpuUnavailable {
        /// What the driver or the browser said.
        reason: String,
    },
    /// The GPU went away, or refused a command, while the model was in use.
    #[error("the gpu was lost: {reason}")]
    GpuLost {
        /// What the driver or the browser said.
        reason: String,
    },
}
