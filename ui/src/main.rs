//! The page: draws the state of `thrum_ui` and hands its wishes to the node.

#[cfg(target_arch = "wasm32")]
mod bridge;
#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod components;
#[cfg(target_arch = "wasm32")]
mod page;
#[cfg(not(target_arch = "wasm32"))]
#[path = "no_page.rs"]
mod page;

fn main() {
    page::run();
}
