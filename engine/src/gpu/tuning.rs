//! Which kernel multiplies each shape fastest on this adapter: found by trying, and remembered.
//!
//! Nothing here knows a clock: whoever loads a model passes one.

use std::collections::BTreeMap;
use std::fmt;

use thrum_shaders::Adder;

use crate::error::EngineError;
use crate::gpu::bind::{Kernels, Sketch, Uniforms};
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Dispatch, Grid, Step};
use crate::gpu::layout::BLOCK_COLS;
use crate::gpu::linear::{self, Gate, Output, Way, ways};
use crate::gpu::readback::Readback;
use crate::gpu::tensor::GpuTensor;
use crate::memory::MAX_BATCH;

/// ms; when trying has taken so long, shapes that are left are done like the most similar one.
const BUDGET_MS: f64 = 1_000.0;

/// ms; the same on an adapter that is a CPU: compiling alone takes most of it, and what suits one
/// such adapter suits them all.
const FALLBACK_BUDGET_MS: f64 = 300.0;

/// What a stored tuning begins with: it is of no use to other kernels.
const HEADER: &str = "kernels ";

/// ms; the work of one trial, below what a person sees and well above a clock's steps.
const TRIAL_MS: f64 = 8.0;

/// times that one kernel runs in a trial at most.
const MAX_REPEATS: u32 = 32;

/// Of the largest sum: what activations in bytes may lose (1/127 each, at random), and how far
/// different orders of addition may lie apart. A kernel beyond it is wrong and is not used.
const MAX_ERROR: f32 = 0.03;

/// bytes; tunings come from storage, where anything may have happened to them.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Milliseconds since any moment.
pub type Clock<'a> = dyn Fn() -> f64 + 'a;

/// What was found, by adapter and shape. As text it can be stored, and read at the next load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tuning {
    found: BTreeMap<String, Way>,
}

impl Tuning {
    /// Reads what [`Tuning::to_string`] wrote; what it does not understand it leaves out, and
    /// everything that was found with other kernels than these.
    pub fn parse(text: &str) -> Self {
        let text = text.get(..MAX_TEXT_BYTES).unwrap_or(text);
        let of_these = header();
        let Some(text) = text.strip_prefix(of_these.as_str()) else {
            return Self::default();
        };
        let entry = |line: &str| {
            let (key, way) = line.rsplit_once('=')?;
            Some((key.to_owned(), parse_way(way)?))
        };
        Self {
            found: text.lines().filter_map(entry).collect(),
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Times what is not known yet of the products with `tensors`, for a second at most; what is
    /// left then is done as what is like it. All are known afterwards.
    ///
    /// # Errors
    /// [`EngineError::GpuLost`], or [`EngineError::GpuBufferTooLarge`] for the room to try in.
    pub(super) async fn complete(
        &mut self,
        device: &GpuDevice,
        tensors: impl Iterator<Item = &GpuTensor>,
        exact: bool,
        kernels: &Kernels,
        clock: &Clock<'_>,
    ) -> Result<(), EngineError> {
        let mut shapes: BTreeMap<String, Shape<'_>> = BTreeMap::new();
        for tensor in tensors.filter(|tensor| tensor.rows > 1) {
            for is_many in [false, true] {
                let key = key_of(device, tensor, is_many, exact);
                let shape = shapes.entry(key).or_insert(Shape {
                    tensor,
                    is_many,
                    weights: 0,
                });
                shape.weights += tensor.rows as u64 * tensor.cols as u64;
            }
        }
        // What takes most of a pass first, one token before many.
        let mut shapes: Vec<(String, Shape<'_>)> = shapes.into_iter().collect();
        shapes.retain(|(key, _)| !self.found.contains_key(key));
        if shapes.is_empty() {
            return Ok(());
        }
        shapes.sort_by_key(|(_, shape)| (shape.is_many, u64::MAX - shape.weights));
        let is_fallback = device.adapter().is_fallback;
        let budget_ms = match is_fallback {
            true => FALLBACK_BUDGET_MS,
            false => BUDGET_MS,
        };
        let mut trials = Trials::new(device, clock, kernels.clone());
        let deadline = clock() + budget_ms;
        let mut left = Vec::new();
        for (key, shape) in shapes {
            // One product with many tokens takes longer than all there is time for.
            let is_hopeless = is_fallback && shape.is_many;
            let way = match is_hopeless || clock() > deadline {
                true => None,
                false => trials.fastest(&shape, exact, deadline).await?,
            };
            match way {
                Some(way) => drop(self.found.insert(key, way)),
                None => left.push((key, shape)),
            }
        }
        let ways = Ways::new(device, self.clone(), exact);
        for (key, shape) in left {
            let way = ways.choose(shape.tensor, Gate::None, shape.is_many);
            self.found.insert(key, way);
        }
        Ok(())
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            return Ok(());
        }
        f.write_str(&header())?;
        for (key, way) in &self.found {
            writeln!(f, "{key}={}", way_text(*way))?;
        }
        Ok(())
    }
}

/// The first line: the engine's version and a number that is another with other kernels.
fn header() -> String {
    // FNV-1a; a collision costs some speed.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for kernel in thrum_shaders::all() {
        for byte in kernel.name.bytes().chain(kernel.source.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{HEADER}{} {hash:016x}\n", env!("CARGO_PKG_VERSION"))
}

/// Chooses a way for each product.
#[derive(Debug)]
pub(super) struct Ways {
    device: GpuDevice,
    tuning: Tuning,
    exact: bool,
}

impl Ways {
    pub(super) fn new(device: &GpuDevice, tuning: Tuning, exact: bool) -> Self {
        Self {
            device: device.clone(),
            tuning,
            exact,
        }
    }

    /// What is known.
    pub(super) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// How often each way is used for `tensors`, for people.
    pub(super) fn summary<'t>(&self, tensors: impl Iterator<Item = &'t GpuTensor>) -> String {
        let mut counts: BTreeMap<(bool, String), usize> = BTreeMap::new();
        for tensor in tensors.filter(|tensor| tensor.rows > 1) {
            for is_many in [false, true] {
                let way = self.choose(tensor, Gate::None, is_many);
                *counts.entry((is_many, way_text(way))).or_default() += 1;
            }
        }
        let list = |wanted: bool| {
            let of_kind = counts.iter().filter(|((is_many, _), _)| *is_many == wanted);
            let words = of_kind.map(|((_, way), count)| format!("{way} for {count}"));
            words.collect::<Vec<_>>().join(", ")
        };
        format!("one token: {}; many: {}", list(false), list(true))
    }

    /// The way to multiply with `w`.
    pub(super) fn choose(&self, w: &GpuTensor, gate: Gate, is_many: bool) -> Way {
        let known = self
            .tuning
            .found
            .get(&key_of(&self.device, w, is_many, self.exact))
            .or_else(|| self.similar(w, is_many))
            .copied();
        let possible = possible(&self.device, w, gate, is_many, self.exact);
        match known.filter(|way| possible.contains(way)) {
            Some(way) => way,
            // A gate cannot be done four rows at a time; one row is next to it.
            None => known
                .map(|way| Way {
                    adder: Adder::Row,
                    ..way
                })
                .filter(|way| possible.contains(way))
                .unwrap_or_else(|| self.usual(&possible)),
        }
    }

    /// What was found for a tensor of the same layout.
    fn similar(&self, w: &GpuTensor, is_many: bool) -> Option<&Way> {
        let start = key_start(&self.device, w, is_many, self.exact);
        let mut keys = self.tuning.found.range(start.clone()..);
        keys.next()
            .filter(|(key, _)| key.starts_with(&start))
            .map(|(_, way)| way)
    }

    /// What suits most adapters of this kind.
    fn usual(&self, possible: &[Way]) -> Way {
        let preferred: &[(Adder, bool)] = match self.device.adapter().is_fallback {
            true => &[
                (Adder::Row4, true),
                (Adder::Row, true),
                (Adder::Eight, true),
                (Adder::Eight, false),
            ],
            false => &[
                (Adder::Subgroup, false),
                (Adder::Tree, false),
                (Adder::Tile, false),
            ],
        };
        preferred
            .iter()
            .find_map(|(adder, packed)| {
                let mut ways = possible.iter();
                ways.find(|way| way.adder == *adder && way.is_packed == *packed)
            })
            .copied()
            .unwrap_or(possible[0])
    }
}

fn possible(device: &GpuDevice, w: &GpuTensor, gate: Gate, is_many: bool, exact: bool) -> Vec<Way> {
    let mut possible = ways(device, w.layout, gate, is_many);
    possible.retain(|way| !(exact && way.is_packed));
    possible
}

pub(super) struct Shape<'a> {
    pub(super) tensor: &'a GpuTensor,
    pub(super) is_many: bool,
    /// Of all tensors of this shape.
    pub(super) weights: u64,
}

/// What trying takes.
pub(super) struct Trials<'a> {
    device: &'a GpuDevice,
    clock: &'a Clock<'a>,
    kernels: Kernels,
    uniforms: Uniforms,
    readback: Readback,
}

impl<'a> Trials<'a> {
    pub(super) fn new(device: &'a GpuDevice, clock: &'a Clock<'a>, kernels: Kernels) -> Self {
        Self {
            device,
            clock,
            kernels,
            uniforms: Uniforms::default(),
            readback: Readback::new(),
        }
    }

    /// The way that took the least time and agreed with the plainest one; none when there was no
    /// time to compare.
    pub(super) async fn fastest(
        &mut self,
        shape: &Shape<'_>,
        exact: bool,
        deadline: f64,
    ) -> Result<Option<Way>, EngineError> {
        let tokens = if shape.is_many { MAX_BATCH } else { 1 };
        let room = Room::new(self.device, shape.tensor, tokens)?;
        let mut best: Option<(Way, f64)> = None;
        let mut right: Option<Vec<f32>> = None;
        for way in possible(self.device, shape.tensor, Gate::None, shape.is_many, exact) {
            if (self.clock)() > deadline {
                // Half a comparison is no comparison.
                return Ok(None);
            }
            let dispatches = self.dispatches(way, shape.tensor, &room);
            let (_, y) = self.run(&dispatches, &room, tokens, 1).await?;
            let wrong = right.as_ref().is_some_and(|right| !agrees(right, &y));
            right.get_or_insert(y);
            if wrong {
                continue;
            }
            let (once, _) = self.run(&dispatches, &room, tokens, 1).await?;
            // Something that is twice as slow with all that surrounds it does not get better.
            if best.is_some_and(|(_, best)| once > 4.0 * best + TRIAL_MS) {
                continue;
            }
            let repeats = (TRIAL_MS / once.max(0.1)).ceil() as u32;
            let repeats = repeats.clamp(2, MAX_REPEATS);
            let (many, _) = self.run(&dispatches, &room, tokens, repeats).await?;
            let each = many / f64::from(repeats);
            if best.is_none_or(|(_, best)| each < best) {
                best = Some((way, each));
            }
        }
        Ok(best.map(|(way, _)| way))
    }

    pub(super) fn dispatches(&mut self, way: Way, w: &GpuTensor, room: &Room) -> Vec<Dispatch> {
        let mut steps = Vec::new();
        let mut x = &room.x;
        if way.is_packed {
            let blocks = w.cols / BLOCK_COLS;
            let params = self.uniforms.of(self.device, &[blocks as u32]);
            steps.push(Step {
                sketch: Sketch {
                    kernel: thrum_shaders::QUANTIZE_ROWS,
                    constants: Vec::new(),
                    buffers: vec![params, room.batch.clone(), x.clone(), room.packed.clone()],
                },
                grid: Grid::threads(blocks),
            });
            x = &room.packed;
        }
        let output = Output {
            y: &room.y,
            start: 0,
            cols: w.rows,
            accumulate: false,
        };
        let (device, uniforms) = (self.device, &mut self.uniforms);
        let gate = Gate::None;
        steps.extend(linear::product(
            device,
            uniforms,
            way,
            w,
            gate,
            &room.batch,
            x,
            output,
        ));
        steps
            .into_iter()
            .map(|step| Dispatch {
                bound: self.kernels.bind_one(self.device, &step.sketch).0,
                grid: step.grid,
            })
            .collect()
    }

    /// Milliseconds for `repeats` runs, and the first sums.
    pub(super) async fn run(
        &mut self,
        dispatches: &[Dispatch],
        room: &Room,
        tokens: usize,
        repeats: u32,
    ) -> Result<(f64, Vec<f32>), EngineError> {
        let start = (self.clock)();
        let mut encoder = self.device.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for _ in 0..repeats {
                for dispatch in dispatches {
                    dispatch.record(&mut pass, tokens as u32);
                }
            }
        }
        let copy = self
            .readback
            .copy(self.device, &mut encoder, &room.y, room.compared);
        self.device.queue.submit([encoder.finish()]);
        let y = self.readback.read(self.device, copy).await?;
        Ok(((self.clock)() - start, y))
    }
}

/// Buffers to try in.
pub(super) struct Room {
    pub(super) x: wgpu::Buffer,
    packed: wgpu::Buffer,
    y: wgpu::Buffer,
    batch: wgpu::Buffer,
    /// Sums that are looked at.
    pub(super) compared: usize,
}

/// sums; enough to see that a kernel is wrong.
const COMPARED: usize = 256;

impl Room {
    pub(super) fn new(
        device: &GpuDevice,
        w: &GpuTensor,
        tokens: usize,
    ) -> Result<Self, EngineError> {
        let floats = (tokens * w.cols) as u64;
        let x = device.storage("a trial's input", 4 * floats)?;
        // Anything without zeros and without a pattern that a kernel could miss.
        let values: Vec<f32> = (0..floats)
            .map(|i| ((i.wrapping_mul(2_654_435_761) >> 7) % 2_001) as f32 / 1_000.0 - 1.0)
            .collect();
        device
            .queue
            .write_buffer(&x, 0, bytemuck::cast_slice(&values));
        let packed_bytes = floats.div_ceil(BLOCK_COLS as u64) * 48;
        Ok(Self {
            x,
            packed: device.storage("a trial's input", packed_bytes)?,
            y: device.storage("a trial's output", (tokens * w.rows * 4) as u64)?,
            batch: device.uniform(&[tokens as u32]),
            compared: (tokens * w.rows).min(COMPARED),
        })
    }
}

fn agrees(right: &[f32], sums: &[f32]) -> bool {
    let largest = right.iter().fold(0.0_f32, |most, sum| most.max(sum.abs()));
    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= MAX_ERROR * largest;
    // Weights that are not finite say nothing about kernels.
    !largest.is_finite() || right.iter().zip(sums).all(is_near)
}

fn key_start(device: &GpuDevice, w: &GpuTensor, is_many: bool, exact: bool) -> String {
    let adapter = device.adapter();
    let tokens = if is_many { "many" } else { "one" };
    let exact = if exact { "exact" } else { "any" };
    let name = adapter.name.replace(['\n', '\r', '='], " ");
    format!(
        "{}/{name}/{}/{tokens}/{exact}/",
        adapter.backend,
        w.layout.name()
    )
}

fn key_of(device: &GpuDevice, w: &GpuTensor, is_many: bool, exact: bool) -> String {
    let start = key_start(device, w, is_many, exact);
    format!("{start}{}x{}", w.rows, w.cols)
}

fn adder_name(adder: Adder) -> &'static str {
    match adder {
        Adder::Row => "row",
        Adder::Row4 => "row4",
        Adder::Tree => "tree",
        Adder::Subgroup => "subgroup",
        Adder::Rows => "rows",
        Adder::Eight => "eight",
        Adder::Tile => "tile",
    }
}

fn way_text(way: Way) -> String {
    let packed = if way.is_packed { "packed" } else { "float" };
    format!("{} {packed} {}", adder_name(way.adder), way.span)
}

fn parse_way(text: &str) -> Option<Way> {
    let mut words = text.split(' ');
    let name = words.next()?;
    let adder = Adder::ALL
        .into_iter()
        .find(|adder| adder_name(*adder) == name)?;
    let is_packed = words.next()? == "packed";
    let span = words.next()?.parse().ok()?;
    Some(Way {
        adder,
        is_packed,
        span,
    })
}
