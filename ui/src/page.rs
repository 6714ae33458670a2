//! Starts the dashboard, and says so in words where it breaks.

use crate::browser;
use crate::components::Dashboard;

/// Replaces the static first paint by the dashboard.
pub(crate) fn run() {
    std::panic::set_hook(Box::new(|info| {
        let report = info.to_string();
        browser::console_error(&report);
        browser::show_failure(&report);
    }));
    let host = browser::by_id("app").expect("index.html has the element that the dashboard fills");
    yew::Renderer::<Dashboard>::with_root(host).render();
}
