//! The node's log: the last lines, by level, to read or to copy into a report.

use std::rc::Rc;

use thrum_protocol::view::LogLevel;
use thrum_ui::log::{Log, MAX_LINES};
use thrum_ui::{format, words};
use web_sys::{Element, HtmlSelectElement};
use yew::prelude::*;

use super::copy_button::CopyButton;

/// px; nearer to the end than this, the view goes on following the log.
const NEAR_END: i32 = 40;

#[derive(PartialEq, Properties)]
pub(crate) struct LogViewProps {
    pub(crate) log: Rc<Log>,
}

#[component]
pub(crate) fn LogView(props: &LogViewProps) -> Html {
    let level = use_state_eq(|| LogLevel::Info);
    let list = use_node_ref();
    let follows = use_mut_ref(|| true);
    use_effect_with((Rc::clone(&props.log), *level), {
        let (list, follows) = (list.clone(), follows.clone());
        move |_| {
            if let Some(list) = list.cast::<Element>().filter(|_| *follows.borrow()) {
                list.set_scroll_top(list.scroll_height());
            }
        }
    });
    let onscroll = Callback::from(move |event: Event| {
        let list: Element = event.target_unchecked_into();
        let below = list.scroll_height() - list.scroll_top() - list.client_height();
        *follows.borrow_mut() = below < NEAR_END;
    });
    let onchange = {
        let level = level.clone();
        Callback::from(move |event: Event| {
            let select: HtmlSelectElement = event.target_unchecked_into();
            if let Some(chosen) = words::level_from(&select.value()) {
                level.set(chosen);
            }
        })
    };
    let text = {
        let (log, level) = (Rc::clone(&props.log), *level);
        Callback::from(move |()| log.text(level))
    };
    let lines: Vec<Html> = props.log.at_least(*level).map(line).collect();
    let shown = lines.len();
    html! {
        <section class="card" aria-labelledby="log-title">
            <div class="card-head">
                <h2 id="log-title">{ "Log" }</h2>
                <div class="row">
                    <label for="log-level" class="small">{ "From level" }</label>
                    <select id="log-level" {onchange}>
                        { for LEVELS.map(|option| choice(option, *level)) }
                    </select>
                    <CopyButton label="Copy the log" {text} />
                </div>
            </div>
            <ol class="log mono" ref={list} {onscroll} tabindex="0" aria-label="Log lines" data-testid="log">
                { for lines }
            </ol>
            <p class="quiet small">
                { format!("{} shown; the last {MAX_LINES} are kept. It stays in this tab.",
                    format::counted(shown as u64, "line", "lines")) }
            </p>
        </section>
    }
}

const LEVELS: [LogLevel; 4] = [
    LogLevel::Debug,
    LogLevel::Info,
    LogLevel::Warn,
    LogLevel::Error,
];

fn choice(option: LogLevel, chosen: LogLevel) -> Html {
    let word = words::level(option);
    html! { <option value={word} selected={option == chosen}>{ word }</option> }
}

fn line((number, line): (u64, &thrum_protocol::view::LogLine)) -> Html {
    let level = words::level(line.level);
    html! {
        <li key={number} class={classes!("log-line", level)}>
            <span class="log-time">{ format::moment(line.at_millis) }</span>
            <span class="log-level">{ level }</span>
            <span class="log-text">{ &line.message }</span>
        </li>
    }
}
