//! Tokens drawn from logits that stay on the GPU, as [`Recipe::choose`] would draw them.
//!
//! 1. The logits that somebody asked to change are changed, and all become keys: whole numbers in
//!    their order.
//! 2. The key at which top-k ends is found digit by digit, then the one at which top-p does; a row
//!    without such a limit passes through, and where no row has it nothing is dispatched.
//! 3. Each tile of a row is weighed at the row's temperature, and the walk along the tokens, by
//!    ascending id, ends where it reaches the number drawn.
//!
//! Weights are whole numbers, so that one GPU chooses as another does but for their exponentials.

use thrum_shaders::{
    DRAW_ADJUST, DRAW_BEGIN, DRAW_BINS, DRAW_CHOOSE, DRAW_COUNT, DRAW_KEYS, DRAW_NARROW,
    DRAW_WEIGH, Kernel, MAX_DRAW_TILES, THREADS,
};

use crate::error::EngineError;
use crate::gpu::bind::{Constants, Kernels, Sketch, Uniforms};
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Across, Dispatch, Grid, Step};
use crate::gpu::program::bound;
use crate::gpu::space::MAX_STEPS;
use crate::sampler::{Adjustment, Recipe, TokenMask};

/// words of a wish, a state, a tile and a change, as `parts/draw.wgsl` and `draw_adjust.wgsl` have
/// them.
const WISH_WORDS: usize = 5;
const STATE_WORDS: usize = 8;
const TILE_WORDS: usize = 5;
const CHANGE_WORDS: usize = 4;

/// "No limit" in a wish.
const ALL: u32 = u32::MAX;

/// Bits below each digit of a key, the highest first.
const SHIFTS: [u32; 4] = [24, 16, 8, 0];

/// columns of a tile at least: 16 a thread where workgroups are cheap, and 128 where the CPU plays
/// the GPU and each costs it as much as thousands of columns.
const TILE_COLS: usize = 1_024;
const FALLBACK_TILE_COLS: usize = 8_192;

/// The smallest temperature that kernels divide by; at any below, the likeliest is all there is.
const MIN_TEMPERATURE: f32 = f32::from_bits((127 - 100) << 23);

/// What a drawing has room for beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    /// Rows of logits.
    rows: usize,
    /// Logits that are changed.
    changes: usize,
    /// Words of all sets of tokens.
    allowed: usize,
}

/// The kernels that draw tokens from one buffer of logits.
#[derive(Debug)]
pub(super) struct Drawing {
    cols: usize,
    room: Room,
    wishes: wgpu::Buffer,  // (rows)
    allowed: wgpu::Buffer, // (sets, cols / 32)
    changes: wgpu::Buffer, // (changes)
    batch: wgpu::Buffer,   // (1)
    drawn: wgpu::Buffer,   // (steps, rows)
    adjust: Dispatch,
    /// Keys, and what is known from them.
    begin: Vec<Dispatch>,
    top_k: Vec<Dispatch>,
    top_p: Vec<Dispatch>,
    weigh: Dispatch,
    /// By step.
    choose: Vec<Dispatch>,
}

/// The buffers a drawing shares with the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<'a> {
    /// (rows, cols); used up.
    pub(super) logits: &'a wgpu::Buffer,
    pub(super) cols: usize,
    /// (rows) of what is chosen.
    pub(super) ids: &'a wgpu::Buffer,
}

/// Which of the kernels a set of recipes needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    changes: u32,
    top_k: bool,
    top_p: bool,
}

impl Drawing {
    /// Makes a drawing that has room for `recipes`, one for each row; `before` is taken over where
    /// it has.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`].
    pub(super) async fn for_recipes(
        before: Option<Self>,
        device: &GpuDevice,
        kernels: &Kernels,
        ends: Ends<'_>,
        recipes: &[Recipe],
    ) -> Result<Self, EngineError> {
        let needed = Room::of(recipes, ends.cols);
        let room = match before {
            Some(before) if before.room.has(needed) => return Ok(before),
            Some(before) => before.room.grown(needed),
            None => Room::NONE.grown(needed),
        };
        Self::new(device, kernels, ends, room).await
    }

    async fn new(
        device: &GpuDevice,
        kernels: &Kernels,
        ends: Ends<'_>,
        room: Room,
    ) -> Result<Self, EngineError> {
        let words = |what, words: usize| device.storage(what, words as u64 * 4);
        let (tile, tiles) = tiles(ends.cols, device.adapter().is_fallback);
        let wishes = words("wishes", room.rows * WISH_WORDS)?;
        let allowed = words("allowed tokens", room.allowed)?;
        let changes = words("changed logits", room.changes * CHANGE_WORDS)?;
        let drawn = words("numbers drawn", room.rows * MAX_STEPS)?;
        let states = words("cuts", room.rows * STATE_WORDS)?;
        let bins = words("digits", room.rows * 2 * DRAW_BINS as usize)?;
        let sums = words("tiles", room.rows * tiles as usize * TILE_WORDS)?;
        let batch = device.uniform(&[0]);
        let mut uniforms = Uniforms::default();
        let cols = ends.cols as u32;
        let mut step = |kernel: Kernel, params: &[u32], others: &[&wgpu::Buffer], grid| {
            let params = uniforms.of(device, params);
            step(
                kernel,
                std::iter::once(&params).chain(others.iter().copied()),
                grid,
            )
        };
        let (row, each_tile) = (Grid::new(1, Across::Token), Grid::new(tiles, Across::Token));
        let keys = ends.logits;
        let mut steps = vec![
            step(
                DRAW_KEYS,
                &[cols, tile],
                &[&wishes, &allowed, keys, &sums],
                each_tile,
            ),
            step(DRAW_BEGIN, &[tiles], &[&wishes, &sums, &states, &bins], row),
        ];
        for by_weight in [0, 1] {
            for shift in SHIFTS {
                let buffers = [&wishes, &states, keys, &bins];
                steps.push(step(
                    DRAW_COUNT,
                    &[cols, tile, shift, by_weight],
                    &buffers,
                    each_tile,
                ));
                steps.push(step(
                    DRAW_NARROW,
                    &[shift, by_weight],
                    &[&wishes, &states, &bins],
                    row,
                ));
            }
        }
        steps.push(step(
            DRAW_WEIGH,
            &[cols, tile],
            &[&wishes, &states, keys, &sums],
            each_tile,
        ));
        for at in 0..MAX_STEPS as u32 {
            let buffers = [&wishes, &states, keys, &sums, &drawn, ends.ids];
            steps.push(step(DRAW_CHOOSE, &[cols, tile, tiles, at], &buffers, row));
        }
        // So many threads, not tokens.
        let flat = Grid::new(0, Across::Flat(1));
        steps.push(self::step(
            DRAW_ADJUST,
            [&batch, &changes, keys].into_iter(),
            flat,
        ));
        let mut made = bound(device, kernels, steps).await.into_iter();
        let mut some = |count: usize| made.by_ref().take(count).collect::<Vec<_>>();
        let (begin, top_k, top_p) = (some(2), some(2 * SHIFTS.len()), some(2 * SHIFTS.len()));
        let mut weigh = some(1);
        let choose = some(MAX_STEPS);
        Ok(Self {
            cols: ends.cols,
            room,
            wishes,
            allowed,
            changes,
            batch,
            drawn,
            adjust: some(1).remove(0),
            begin,
            top_k,
            top_p,
            weigh: weigh.remove(0),
            choose,
        })
    }

    /// Tells the kernels how rows are to be drawn, the first `steps` of each.
    pub(super) fn set(&self, queue: &wgpu::Queue, recipes: &[Recipe], steps: usize) -> Needs {
        let mut wishes = Vec::with_capacity(recipes.len() * WISH_WORDS);
        let (mut allowed, mut changes): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut needs = Needs {
            changes: 0,
            top_k: false,
            top_p: false,
        };
        for (row, recipe) in recipes.iter().enumerate() {
            let set = recipe.allowed.as_ref().map(|set| words_of(set, self.cols));
            let first = set.as_ref().map_or(ALL, |_| allowed.len() as u32);
            let wish = wish(recipe, choices(set.as_deref(), self.cols), first);
            needs.top_k |= wish[0] != 0;
            needs.top_p |= wish[1] != ALL;
            wishes.extend(wish);
            allowed.extend(set.unwrap_or_default());
            let known = |change: &&Adjustment| (change.id as usize) < self.cols;
            for change in recipe.adjustments.iter().filter(known) {
                changes.push(row as u32 * self.cols as u32 + change.id);
                changes.extend([change.bias, change.repetition, change.penalty].map(f32::to_bits));
            }
        }
        needs.changes = (changes.len() / CHANGE_WORDS) as u32;
        let number = |step: usize| move |recipe: &Recipe| fixed(recipe.uniforms[step]);
        let drawn: Vec<u32> = (0..steps)
            .flat_map(|step| recipes.iter().map(number(step)))
            .collect();
        let write = |buffer: &wgpu::Buffer, words: &[u32]| {
            if !words.is_empty() {
                queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
            }
        };
        write(&self.wishes, &wishes);
        write(&self.allowed, &allowed);
        write(&self.changes, &changes);
        write(&self.batch, &[needs.changes]);
        write(&self.drawn, &drawn);
        needs
    }

    /// What changes logits, and for how many threads it is to be recorded.
    pub(super) fn changes(&self, needs: Needs) -> Option<(&Dispatch, u32)> {
        (needs.changes > 0).then_some((&self.adjust, needs.changes))
    }

    /// From logits to ids: what is recorded for each row.
    pub(super) fn dispatches(&self, needs: Needs, step: usize) -> impl Iterator<Item = &Dispatch> {
        let of = |list: &'_ [Dispatch], is_needed: bool| match is_needed {
            true => list.len(),
            false => 0,
        };
        let top_k = &self.top_k[..of(&self.top_k, needs.top_k)];
        let top_p = &self.top_p[..of(&self.top_p, needs.top_p)];
        let cut = self.begin.iter().chain(top_k).chain(top_p);
        cut.chain([&self.weigh, &self.choose[step]])
    }
}

impl Room {
    const NONE: Self = Self {
        rows: 0,
        changes: 0,
        allowed: 0,
    };

    fn of(recipes: &[Recipe], cols: usize) -> Self {
        let sets = recipes.iter().filter(|it| it.allowed.is_some()).count();
        Self {
            rows: recipes.len(),
            changes: recipes.iter().map(|it| it.adjustments.len()).sum(),
            allowed: sets * cols.div_ceil(u32::BITS as usize),
        }
    }

    fn has(self, needed: Self) -> bool {
        self.grown(needed) == self
    }

    fn grown(self, needed: Self) -> Self {
        let most = |have: usize, needed: usize| match needed > have {
            true => needed.next_power_of_two(),
            false => have,
        };
        Self {
            rows: most(self.rows, needed.rows),
            changes: most(self.changes, needed.changes),
            allowed: most(self.allowed, needed.allowed),
        }
    }
}

fn step<'a>(kernel: Kernel, buffers: impl Iterator<Item = &'a wgpu::Buffer>, grid: Grid) -> Step {
    Step {
        sketch: Sketch {
            kernel,
            constants: Constants::new(),
            buffers: buffers.cloned().collect(),
        },
        grid,
    }
}

/// Columns of a tile, a multiple of [`THREADS`], and how many tiles a row of `cols` has.
fn tiles(cols: usize, is_fallback: bool) -> (u32, u32) {
    let least = match is_fallback {
        true => FALLBACK_TILE_COLS,
        false => TILE_COLS,
    };
    let tile = least.max(cols.div_ceil(MAX_DRAW_TILES as usize));
    let tile = tile.next_multiple_of(THREADS as usize);
    (tile as u32, cols.div_ceil(tile) as u32)
}

/// The tokens of `set` that a model of `cols` tokens has, which may be more or fewer than a
/// tokenizer knows: `cols` bits in whole words.
fn words_of(set: &TokenMask, cols: usize) -> Vec<u32> {
    let words = set.words().iter().copied().chain(std::iter::repeat(0));
    let mut words: Vec<u32> = words.take(cols.div_ceil(u32::BITS as usize)).collect();
    if let Some(last) = words.last_mut() {
        *last &= u32::MAX >> (cols.wrapping_neg() % u32::BITS as usize);
    }
    words
}

/// Tokens that may come.
fn choices(set: Option<&[u32]>, cols: usize) -> usize {
    let count = |words: &[u32]| words.iter().map(|it| it.count_ones() as usize).sum();
    set.map_or(cols, count)
}

/// A recipe as `parts/draw.wgsl` has it.
fn wish(recipe: &Recipe, choices: usize, allowed: u32) -> [u32; WISH_WORDS] {
    const NO_MIN_P: f32 = 1.0;
    let limits = recipe.limits;
    if recipe.temperature == 0.0 {
        return [0, ALL, NO_MIN_P.to_bits(), 0.0_f32.to_bits(), allowed];
    }
    let top_k = match (limits.top_k as usize) < choices {
        true => limits.top_k,
        false => 0,
    };
    let top_p = match limits.top_p < 1.0 {
        true => fixed(f64::from(limits.top_p)),
        false => ALL,
    };
    let min_p = match limits.min_p > 0.0 {
        true => libm::logf(limits.min_p),
        false => NO_MIN_P,
    };
    let temperature = recipe.temperature.max(MIN_TEMPERATURE);
    [
        top_k,
        top_p,
        min_p.to_bits(),
        temperature.to_bits(),
        allowed,
    ]
}

/// A number in `[0, 1)` in 2^-32.
fn fixed(number: f64) -> u32 {
    (number * (1_u64 << 32) as f64) as u32
}
