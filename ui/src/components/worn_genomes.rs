//! Which genomes the next answer wears, and how much of each.

use std::rc::Rc;

use thrum_protocol::id::ModelId;
use thrum_ui::genomes::{Genome, MAX_SCALE_MILLI, Worn};
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct WornGenomesProps {
    pub(crate) genomes: Rc<Vec<Genome>>,
    pub(crate) worn: Worn,
    pub(crate) on_change: Callback<Worn>,
}

#[component]
pub(crate) fn WornGenomes(props: &WornGenomesProps) -> Html {
    html! {
        <fieldset class="worn" data-testid="worn">
            <legend>{ "The answer wears" }</legend>
            <ul>
                { for props.genomes.iter().filter(|it| it.fits != Some(false)).map(|genome| entry(props, genome)) }
            </ul>
            if !props.worn.is_empty() {
                <p class="quiet small">{ "Answered by this tab: other peers have not got this node's genomes." }</p>
            }
        </fieldset>
    }
}

fn entry(props: &WornGenomesProps, genome: &Genome) -> Html {
    let id = genome.id;
    let changed = |change: fn(&mut Worn, ModelId, &HtmlInputElement)| {
        let (on_change, worn) = (props.on_change.clone(), props.worn.clone());
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            let mut worn = worn.clone();
            change(&mut worn, id, &input);
            // The field shows what holds, also where something else was typed.
            if let Some(milli) = worn.milli(id).filter(|_| input.type_() == "number") {
                input.set_value(&shown(milli));
            }
            on_change.emit(worn);
        })
    };
    let put = changed(|worn, id, input| worn.put(id, input.checked()));
    let scale = changed(|worn, id, input| {
        if let Ok(typed) = input.value().trim().parse::<f64>() {
            worn.scale(id, (typed * 1_000.0).round() as i32);
        }
    });
    let milli = props.worn.milli(id);
    let most = shown(MAX_SCALE_MILLI);
    html! {
        <li key={id.to_string()}>
            <label class="check">
                <input type="checkbox" checked={milli.is_some()} onchange={put} data-testid="wear"
                    data-genome-id={id.to_string()} />
                <span>{ &genome.name }</span>
            </label>
            if let Some(milli) = milli {
                <input type="number" step="0.1" min={format!("-{most}")} max={most} value={shown(milli)} onchange={scale}
                    aria-label={format!("Scale of {}", genome.name)} data-testid="wear-scale" />
            }
        </li>
    }
}

fn shown(milli: i32) -> String {
    (f64::from(milli) / 1_000.0).to_string()
}
