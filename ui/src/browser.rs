//! The few things the page asks of the browser itself. Each may be missing or refused: then it
//! answers with nothing, never with an exception.

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Document, Element, HtmlElement, Response, Storage, Window};

use thrum_ui::choice::{Remembered, store_name};

/// Key of the theme in localStorage, also read by ui/boot/first.js.
const THEME_KEY: &str = "thrum.theme";

/// Key of the remembered choice in localStorage, with the store's name after it; also read by
/// ui/boot/first.js.
const CHOICE_KEY: &str = "thrum.choice/";

/// The colours in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Dark,
    Light,
}

fn window() -> Window {
    web_sys::window().expect("the dashboard runs in a window")
}

fn document() -> Document {
    window().document().expect("a window has a document")
}

/// localStorage throws where a browser forbids it.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

pub(crate) fn by_id(id: &str) -> Option<Element> {
    document().get_element_by_id(id)
}

pub(crate) fn focus(id: &str) {
    if let Some(element) = by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // Focus is a courtesy: an element that cannot take it changes nothing.
        element.focus().ok();
    }
}

pub(crate) fn console_error(text: &str) {
    web_sys::console::error_1(&JsValue::from_str(text));
}

/// Shows the page's failure message, which stands outside of what Yew draws.
pub(crate) fn show_failure(why: &str) {
    if let Some(reason) = by_id("failure-reason") {
        reason.set_text_content(Some(why));
    }
    if let Some(section) = by_id("failure") {
        // Without the attribute change nothing is shown, and nothing else can be done about it.
        section.remove_attribute("hidden").ok();
    }
}

/// Milliseconds since 1970, for numbers that differ from those of other tabs.
pub(crate) fn epoch_millis() -> u64 {
    js_sys::Date::now() as u64
}

/// `http://host:port`
pub(crate) fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// The page's address without query and fragment, to hand to somebody else.
pub(crate) fn address() -> String {
    let path = window().location().pathname().unwrap_or_default();
    origin() + &path
}

/// The day of a moment in ms since 1970, as `2026-11-21`.
pub(crate) fn day(millis: u64) -> String {
    let date = js_sys::Date::new(&JsValue::from_f64(millis as f64));
    let text = String::from(date.to_iso_string());
    text.split('T').next().unwrap_or_default().to_owned()
}

/// The store that the page's address names.
pub(crate) fn store() -> String {
    let query = window().location().search().unwrap_or_default();
    let asked = web_sys::UrlSearchParams::new_with_str(&query)
        .ok()
        .and_then(|parameters| parameters.get("store"));
    store_name(asked.as_deref())
}

/// The choice that was remembered for a store.
pub(crate) fn remembered(store: &str) -> Option<Remembered> {
    let text = storage()?
        .get_item(&format!("{CHOICE_KEY}{store}"))
        .ok()??;
    Remembered::from_text(&text)
}

/// Remembers a choice; whether it was kept.
pub(crate) fn remember(store: &str, choice: Remembered) -> bool {
    storage().is_some_and(|storage| {
        storage
            .set_item(&format!("{CHOICE_KEY}{store}"), &choice.to_text())
            .is_ok()
    })
}

pub(crate) fn forget(store: &str) {
    if let Some(storage) = storage() {
        // Removing fails only where nothing could be stored.
        storage.remove_item(&format!("{CHOICE_KEY}{store}")).ok();
    }
}

/// The theme in use: the chosen one, else the system's.
pub(crate) fn theme() -> Theme {
    let chosen = document()
        .document_element()
        .and_then(|root| root.get_attribute("data-theme"));
    match chosen.as_deref() {
        Some("dark") => Theme::Dark,
        Some("light") => Theme::Light,
        Some(_) | None => {
            let query = window().match_media("(prefers-color-scheme: dark)");
            match query.ok().flatten().is_some_and(|query| query.matches()) {
                true => Theme::Dark,
                false => Theme::Light,
            }
        }
    }
}

/// Uses a theme and remembers it.
pub(crate) fn set_theme(theme: Theme) {
    let word = match theme {
        Theme::Dark => "dark",
        Theme::Light => "light",
    };
    if let Some(root) = document().document_element() {
        // A theme that is not applied or not remembered is no fault worth a message.
        root.set_attribute("data-theme", word).ok();
    }
    if let Some(storage) = storage() {
        storage.set_item(THEME_KEY, word).ok();
    }
}

/// Copies text; whether it worked. Pages without https have no clipboard.
pub(crate) async fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    let clipboard = Reflect::get(&navigator, &JsValue::from_str("clipboard"));
    if !clipboard.is_ok_and(|clipboard| clipboard.is_object()) {
        return false;
    }
    JsFuture::from(navigator.clipboard().write_text(text))
        .await
        .is_ok()
}

/// The body of an address of our own origin.
///
/// # Errors
/// A sentence for people.
pub(crate) async fn fetch_text(path: &str) -> Result<String, String> {
    let answer = JsFuture::from(window().fetch_with_str(path))
        .await
        .map_err(|_| format!("{path} could not be fetched"))?;
    let answer: Response = answer
        .dyn_into()
        .map_err(|_| format!("{path} gave no answer"))?;
    if !answer.ok() {
        return Err(format!("{path} gave status {}", answer.status()));
    }
    let body = answer
        .text()
        .map_err(|_| format!("{path} could not be read"))?;
    let body = JsFuture::from(body)
        .await
        .map_err(|_| format!("{path} ended early"))?;
    body.as_string()
        .ok_or_else(|| format!("{path} is not text"))
}
