//! Why a GGUF file is refused.

/// What is wrong with a model file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("not a gguf file: it starts with {found:02x?}")]
    NotGguf {
        /// What it starts with.
        found: [u8; 4],
    },
    /// A version other than 2 and 3 (big-endian files read as a very large version).
    #[error("gguf version {version} is not read, only 2 and 3 (little endian) are")]
    UnsupportedVersion {
        /// The version stated.
        version: u32,
    },
    /// The file ends inside its header.
    #[error("the file ends inside its header, after {file_bytes} bytes")]
    TruncatedHeader {
        /// Bytes received.
        file_bytes: u64,
    },
    /// The file ends before its last tensor does.
    #[error("the file is truncated: it needs {needed_bytes} bytes and has {file_bytes}")]
    Truncated {
        /// Bytes that the header promises.
        needed_bytes: u64,
        /// Bytes there are.
        file_bytes: u64,
    },
    /// The file goes on after its last tensor.
    #[error(
        "the file is too long: its header accounts for {needed_bytes} bytes, it has {file_bytes} or more"
    )]
    TrailingBytes {
        /// Bytes that the header promises, padding included.
        needed_bytes: u64,
        /// Bytes there are, or have arrived so far.
        file_bytes: u64,
    },
    /// The header does not end within the bound.
    #[error("the header is longer than {max_bytes} bytes")]
    HeaderTooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The file is one of several that make up a model, and came alone.
    #[error("the file is part {} of {count} of a model: all parts are needed", no + 1)]
    PartOfMany {
        /// Its place among the parts, from 0.
        no: u64,
        /// Parts there are.
        count: u64,
    },
    /// A part of a split model is not there.
    #[error("part {} of {count} of the model is missing", no + 1)]
    MissingPart {
        /// Its place among the parts, from 0.
        no: u64,
        /// Parts there are.
        count: u64,
    },
    /// Two files say that they are the same part.
    #[error("two files are part {} of the model", no + 1)]
    DuplicatePart {
        /// The place both claim, from 0.
        no: u64,
    },
    /// A file is no part of the model that the others make up.
    #[error("file {} is not a part of this model: {reason}", index + 1)]
    ForeignPart {
        /// Its place among the files given, from 0.
        index: usize,
        /// What tells it from the others.
        reason: String,
    },
    /// The parts of a split model do not have the tensors that they state.
    #[error("the parts of the model have {found} tensors together and state {stated}")]
    TensorCount {
        /// As every part states.
        stated: u64,
        /// In all parts.
        found: u64,
    },
    /// A part's header was read ahead, and is another one as the part arrives.
    #[error("the file changed while it was read: its header is not the one seen before")]
    HeaderChanged,
    /// A part is refused.
    #[error("part {} of the model: {error}", no + 1)]
    InPart {
        /// Its place among the parts, from 0.
        no: u64,
        /// Why.
        error: Box<GgufError>,
    },
    /// A count in the header is beyond its bound.
    #[error("{count} {what}: at most {max} are read")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many the file claims.
        count: u64,
        /// The bound.
        max: u64,
    },
    /// A string is not UTF-8.
    #[error("the string at byte {at} is not utf-8")]
    NotUtf8 {
        /// Offset in the file.
        at: usize,
    },
    /// A metadata value has a type that GGUF does not define.
    #[error("metadata {key:?} has the unknown value type {type_id}")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type stated.
        type_id: u32,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("metadata {key:?} holds the boolean {value}")]
    BadBool {
        /// The key.
        key: String,
        /// The byte found.
        value: u8,
    },
    /// A metadata key occurs twice.
    #[error("metadata {key:?} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A metadata key that the model needs is not there.
    #[error("metadata {key:?} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value is of the wrong type.
    #[error("metadata {key:?} is not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A metadata value is out of range or asks for something that is not implemented.
    #[error("metadata {key:?} is {value}; it must be {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// The model is of an architecture that is not implemented.
    #[error("the architecture {name:?} is not known, only \"llama\" is")]
    UnknownArchitecture {
        /// `general.architecture`.
        name: String,
    },
    /// A tensor is stored in a format that is not read.
    #[error("tensor {tensor:?} is of type {format}; F32, F16, Q8_0 and Q4_0 are read")]
    UnknownTensorType {
        /// The tensor's name.
        tensor: String,
        /// The format's name, or its number where it has none.
        format: String,
    },
    /// A tensor has no dimensions, too many, an empty one, or more weights than can be addressed.
    #[error("tensor {tensor:?} has impossible dimensions {dims:?}")]
    BadDimensions {
        /// The tensor's name.
        tensor: String,
        /// As stated, fastest first.
        dims: Vec<u64>,
    },
    /// A tensor does not start on the file's alignment.
    #[error("tensor {tensor:?} starts at {offset}, which is not a multiple of {alignment}")]
    Misaligned {
        /// The tensor's name.
        tensor: String,
        /// From the start of the tensor data.
        offset: u64,
        /// `general.alignment`.
        alignment: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors {first:?} and {second:?} overlap")]
    Overlap {
        /// The one that starts earlier.
        first: String,
        /// The other.
        second: String,
    },
    /// More bytes between two tensors than alignment explains.
    #[error("{gap_bytes} bytes before tensor {tensor:?} belong to nothing")]
    Gap {
        /// The tensor after the gap.
        tensor: String,
        /// Its size.
        gap_bytes: u64,
    },
    /// A tensor occurs twice.
    #[error("tensor {tensor:?} occurs twice")]
    DuplicateTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("tensor {name:?} is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor that the architecture does not have; ignoring it would change the answers.
    #[error("tensor {tensor:?} has no place in this architecture")]
    UnexpectedTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor has the wrong shape.
    #[error("tensor {tensor:?} has dimensions {found:?}; the model needs {expected:?}")]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// Fastest dimension first, as GGUF has it.
        expected: [u64; 2],
        /// As stated.
        found: Vec<u64>,
    },
    /// A tensor is in a format that its place does not allow.
    #[error("tensor {tensor:?} is of type {found}; it must be {expected}")]
    WrongFormat {
        /// The tensor's name.
        tensor: String,
        /// As stated.
        found: &'static str,
        /// What its place needs.
        expected: String,
    },
    /// A weight or a block's scale is infinite or not a number: the file is damaged.
    #[error("tensor {tensor:?} is damaged: block {block} is not finite")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
        /// Index of the block (of the weight, for F32 and F16).
        block: u64,
    },
    /// The reader has already refused this file.
    #[error("the file has already been refused")]
    AlreadyRefused,
}
