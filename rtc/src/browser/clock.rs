//! The browser's clock.

use std::time::Duration;

/// Time since the page began; it never goes back.
pub(super) fn now() -> Duration {
    let millis = web_sys::window()
        .and_then(|window| window.performance())
        .map_or(0.0, |performance| performance.now());
    Duration::from_secs_f64(millis.max(0.0) / 1e3)
}
