//! How fast the engine is: a few tokens, measured before anybody waits for them.

use super::clock::{Hop, now_ms};
use super::error::LoadError;
use super::load::Loaded;
use super::messages::{EngineEvent, Stage};

/// tokens; enough for a steady figure on a fast machine.
const PROBE_TOKENS: usize = 16;

/// ms; a slow machine is known to be slow by then.
const PROBE_MS: f64 = 300.0;

/// ms; below it browsers' clocks, coarsened to 0.1 ms, say too little.
const MIN_MS: f64 = 0.1;

/// Thousandths of a token per second, for one answer alone, without its prompt.
///
/// # Errors
/// [`LoadError::Engine`] where the model cannot compute.
pub(super) async fn millitokens_per_second(
    loaded: &mut Loaded,
    hop: &Hop,
    tell: &dyn Fn(EngineEvent),
) -> Result<u64, LoadError> {
    let tokens = PROBE_TOKENS.min(loaded.model.config().context_len.saturating_sub(1));
    let total = Some(tokens as u64);
    tell(EngineEvent::Progress {
        stage: Stage::Probe,
        loaded: 0,
        total,
    });
    if !loaded.model.config().is_causal() {
        return encoded(loaded, tokens, tell).await;
    }
    // The first pass compiles and allocates what later ones find ready.
    let id = loaded.model.open()?;
    loaded.model.read(id, &[0]).await?;
    let begun_ms = now_ms();
    let mut done = 0;
    while done < tokens && now_ms() - begun_ms < PROBE_MS {
        loaded.model.read(id, &[0]).await?;
        done += 1;
        hop.hop().await?;
    }
    loaded.model.close(id);
    tell(EngineEvent::Progress {
        stage: Stage::Probe,
        loaded: done as u64,
        total,
    });
    let elapsed_ms = (now_ms() - begun_ms).max(MIN_MS);
    Ok((done as f64 * 1e6 / elapsed_ms) as u64)
}

/// Of a model that reads texts whole and writes none.
async fn encoded(
    loaded: &mut Loaded,
    tokens: usize,
    tell: &dyn Fn(EngineEvent),
) -> Result<u64, LoadError> {
    let text = vec![0; tokens];
    // The first pass compiles and allocates what later ones find ready.
    loaded.model.embed(&text).await?;
    let begun_ms = now_ms();
    loaded.model.embed(&text).await?;
    let elapsed_ms = (now_ms() - begun_ms).max(MIN_MS);
    tell(EngineEvent::Progress {
        stage: Stage::Probe,
        loaded: tokens as u64,
        total: Some(tokens as u64),
    });
    Ok((tokens as f64 * 1e6 / elapsed_ms) as u64)
}
