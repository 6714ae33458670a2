//! How fast the engine is: a few tokens, measured before anybody waits for them, or what is
//! remembered of today.

use super::clock::{Hop, now_ms};
use super::error::LoadError;
use super::kept::Kept;
use super::load::Loaded;
use super::messages::{EngineEvent, Stage};
use super::speeds::{Speeds, Subject};
use thrum_engine::error::EngineError;
use thrum_engine::sequences::SequenceId;

/// tokens; enough for a figure within a tenth or so, and nobody waits long for it.
const PROBE_TOKENS: usize = 8;

/// ms; a slow machine is known to be slow by then.
const PROBE_MS: f64 = 150.0;

/// tokens of the pass that says what one over several takes.
const ROWS: usize = 8;

/// ms; below it browsers' clocks, coarsened to 0.1 ms, say too little.
const MIN_MS: f64 = 0.1;

/// The note that holds what was measured.
const NOTE: &str = "speeds.txt";

/// Another version has other kernels.
const VERSION: &str = match option_env!("THRUM_COMMIT") {
    Some(commit) => commit,
    None => env!("CARGO_PKG_VERSION"),
};

/// Thousandths of a token per second, for one answer alone, without its prompt: measured, where it
/// is not remembered. On a GPU and of an encoder it always is: passes are planned by it.
///
/// # Errors
/// [`LoadError::Engine`] where the model cannot compute.
pub(super) async fn speed(
    loaded: &mut Loaded,
    hop: &Hop,
    tell: &dyn Fn(EngineEvent),
) -> Result<u64, LoadError> {
    let threads = loaded.threads.as_ref().map(|threads| threads.used);
    let (Some(threads), true) = (threads, loaded.model.config().is_causal()) else {
        return millitokens_per_second(loaded, hop, tell).await;
    };
    let subject = Subject {
        model: loaded.id,
        threads,
        version: VERSION,
    };
    // What cannot be read is measured, and what cannot be kept is measured again.
    let kept = Kept::open().await.ok();
    let note = match &kept {
        Some(kept) => kept.note(NOTE).await.unwrap_or_default(),
        None => String::new(),
    };
    let mut speeds = Speeds::parse(&note);
    let now_millis = js_sys::Date::now() as u64;
    if let Some(speed) = speeds.find(subject, now_millis) {
        // Who watches the stages sees this one all the same.
        tell(EngineEvent::Progress {
            stage: Stage::Probe,
            loaded: 0,
            total: Some(0),
        });
        return Ok(speed);
    }
    let speed = millitokens_per_second(loaded, hop, tell).await?;
    if let Some(kept) = kept {
        speeds.put(subject, speed, now_millis);
        kept.put_note(NOTE, &speeds.to_text()).await.ok();
    }
    Ok(speed)
}

/// Thousandths of a token per second, for one answer alone, without its prompt.
///
/// # Errors
/// [`LoadError::Engine`] where the model cannot compute.
async fn millitokens_per_second(
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
    let elapsed_ms = (now_ms() - begun_ms).max(MIN_MS);
    if loaded.model.chooses() {
        let one_ms = elapsed_ms / done.max(1) as f64;
        let row_ms = row_ms(loaded, id, one_ms).await?;
        loaded.model.set_pass_times(one_ms, row_ms);
    }
    loaded.model.close(id);
    tell(EngineEvent::Progress {
        stage: Stage::Probe,
        loaded: done as u64,
        total,
    });
    Ok((done as f64 * 1e6 / elapsed_ms) as u64)
}

/// ms for each row of a pass over several on a GPU, where a single one takes `one_ms`; that, where
/// trying would take too long.
async fn row_ms(loaded: &mut Loaded, id: SequenceId, one_ms: f64) -> Result<f64, EngineError> {
    let room = loaded.model.config().context_len - loaded.model.len(id)?;
    if one_ms * ROWS as f64 > PROBE_MS || room < 2 * ROWS {
        return Ok(one_ms);
    }
    // As above, the first is not like those to come.
    loaded.model.read(id, &[0; ROWS]).await?;
    let begun_ms = now_ms();
    loaded.model.read(id, &[0; ROWS]).await?;
    Ok((now_ms() - begun_ms).max(MIN_MS) / ROWS as f64)
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
    let row_ms = elapsed_ms / tokens.max(1) as f64;
    loaded.model.set_pass_times(elapsed_ms, row_ms);
    tell(EngineEvent::Progress {
        stage: Stage::Probe,
        loaded: tokens as u64,
        total: Some(tokens as u64),
    });
    Ok((tokens as f64 * 1e6 / elapsed_ms) as u64)
}
