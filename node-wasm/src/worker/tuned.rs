//! Which kernels are fastest on this machine's GPU: found while a model is loaded, kept beside the
//! models, and known at the next load.

use super::clock::now_ms;
use super::kept::Kept;
use thrum_engine::error::EngineError;
use thrum_engine::gpu::{GpuModel, GpuSettings, GpuUpload, Tuning};

/// The note that holds it. Its text says which adapter and which kernels it is of.
const NOTE: &str = "kernels.txt";

/// The model, with the fastest kernels, and a line for the log. Finding them takes a second at most.
///
/// # Errors
/// As [`GpuUpload::into_tuned_model`].
pub(super) async fn into_model(upload: GpuUpload) -> Result<(GpuModel, String), EngineError> {
    // What cannot be read is found again, and what cannot be kept too.
    let kept = Kept::open().await.ok();
    let note = match &kept {
        Some(kept) => kept.note(NOTE).await.unwrap_or_default(),
        None => String::new(),
    };
    let settings = GpuSettings {
        tuning: Tuning::parse(&note),
        ..GpuSettings::default()
    };
    let begun_ms = now_ms();
    let model = upload
        .with_settings(settings)
        .into_tuned_model(&now_ms)
        .await?;
    let took_ms = now_ms() - begun_ms;
    let found = model.tuning().to_string();
    let how = match found == note {
        true => "as remembered".to_owned(),
        false => format!("tried in {took_ms:.0} ms"),
    };
    if found != note
        && let Some(kept) = kept
    {
        // A full storage costs a second at the next load.
        kept.put_note(NOTE, &found).await.ok();
    }
    let words = model.kernels_in_words();
    Ok((model, format!("kernels chosen, {how}: {words}")))
}
