//! How many workgroups a kernel is run with, and how that follows the number of tokens.

use thrum_shaders::THREADS;

use crate::gpu::bind::{Bound, Sketch};

/// What the y axis of a grid stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    /// Nothing: it is 1.
    One,
    /// A token.
    Token,
    /// So many tokens.
    Tokens(u32),
    /// Nothing: x counts so many threads for each token.
    Flat(u32),
}

/// Workgroups along x, y and z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    x: u32,
    across: Across,
    z: u32,
}

impl Grid {
    /// workgroups along one axis; half of WebGPU's 65,535, beyond which they are silently dropped.
    pub(super) const MOST: u32 = 32_768;

    pub(super) fn new(x: u32, across: Across) -> Self {
        debug_assert!(x <= 65_535, "the caller folds what may be larger");
        Self { x, across, z: 1 }
    }

    /// A thread for each of `threads`, for every token.
    pub(super) fn threads(threads: usize) -> Self {
        Self::new((threads as u32).div_ceil(THREADS), Across::Token)
    }

    /// What does not fit along x goes along z.
    pub(super) fn folded(groups: u32, across: Across) -> Self {
        let x = groups.min(Self::MOST);
        Self {
            x,
            across,
            z: groups.div_ceil(x.max(1)),
        }
    }

    /// Workgroups for `tokens` tokens.
    pub(super) fn of(self, tokens: u32) -> [u32; 3] {
        match self.across {
            Across::One => [self.x, 1, self.z],
            Across::Token => [self.x, tokens, self.z],
            Across::Tokens(each) => [self.x, tokens.div_ceil(each), self.z],
            Across::Flat(threads) => [(threads * tokens).div_ceil(THREADS), 1, 1],
        }
    }
}

/// A kernel that is not compiled yet, and its grid.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) sketch: Sketch,
    pub(super) grid: Grid,
}

/// A kernel that is ready to run, and its grid.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) bound: Bound,
    pub(super) grid: Grid,
}

impl Dispatch {
    /// Records it for `tokens` tokens.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, tokens: u32) {
        let [x, y, z] = self.grid.of(tokens);
        pass.set_pipeline(&self.bound.pipeline);
        pass.set_bind_group(0, &self.bound.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}
