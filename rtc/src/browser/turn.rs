//! Later turns of the event loop: tasks, which come after whatever the browser has planned already,
//! and which it does not slow down in a tab that nobody looks at.

use std::cell::RefCell;
use std::collections::VecDeque;

use wasm_bindgen::prelude::*;
use web_sys::MessageChannel;

/// What is done in a later turn.
type Task = Box<dyn FnOnce()>;

thread_local! {
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

struct Turns {
    channel: MessageChannel,
    tasks: VecDeque<Task>,
    /// held for as long as the page lives
    _on_message: Closure<dyn FnMut()>,
}

impl Turns {
    fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let on_message = Closure::<dyn FnMut()>::new(|| {
            let task = TURNS.with_borrow_mut(|turns| turns.as_mut()?.tasks.pop_front());
            if let Some(task) = task {
                task();
            }
        });
        let callback = on_message.as_ref().unchecked_ref();
        channel.port1().set_onmessage(Some(callback));
        Ok(Self {
            channel,
            tasks: VecDeque::new(),
            _on_message: on_message,
        })
    }
}

/// Does it in the next turn; at once where the browser has no channels for messages.
pub(super) fn next_turn(task: impl FnOnce() + 'static) {
    let mut task: Option<Task> = Some(Box::new(task));
    TURNS.with_borrow_mut(|turns| {
        if turns.is_none() {
            *turns = Turns::new().ok();
        }
        if let Some(turns) = turns
            && turns.channel.port2().post_message(&JsValue::NULL).is_ok()
        {
            turns.tasks.extend(task.take());
        }
    });
    if let Some(task) = task {
        task();
    }
}
