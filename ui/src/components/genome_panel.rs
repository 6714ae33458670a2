//! The genomes of this node: which there are, how to have another one, how to be rid of one.

use std::rc::Rc;

use thrum_protocol::id::ModelId;
use thrum_ui::genomes::Genome;
use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct GenomePanelProps {
    /// none until it is known
    pub(crate) genomes: Option<Rc<Vec<Genome>>>,
    /// one is on its way
    pub(crate) busy: bool,
    /// why the last one was not taken
    pub(crate) refusal: Option<String>,
    pub(crate) on_wish: Callback<GenomeWish>,
}

/// What a person wants of genomes.
#[derive(Clone, Debug)]
pub(crate) enum GenomeWish {
    /// have the one in these files
    Load(Vec<File>),
    /// be rid of one
    Remove(ModelId),
    /// stop what is on its way
    Stop,
}

#[component]
pub(crate) fn GenomePanel(props: &GenomePanelProps) -> Html {
    let genomes = props.genomes.as_deref().map(Vec::as_slice);
    html! {
        <section class="card genomes" aria-labelledby="genomes-title" data-testid="genomes">
            <h2 id="genomes-title">{ "Genomes" }</h2>
            if genomes.is_none_or(<[Genome]>::is_empty) {
                <p class="quiet small">
                    { "None yet. A genome is an adapter (LoRA): it changes how the model answers, and the model stays as it is." }
                </p>
            }
            if let Some(genomes) = genomes.filter(|genomes| !genomes.is_empty()) {
                <ul class="kept-list">
                    { for genomes.iter().map(|genome| entry(props, genome)) }
                </ul>
            }
            if props.busy {
                <p class="busy" role="status">
                    { "Taking the genome… " }
                    <button type="button" class="text-button" data-testid="genome-stop"
                        onclick={props.on_wish.reform(|_: MouseEvent| GenomeWish::Stop)}>
                        { "Stop" }
                    </button>
                </p>
            }
            if let Some(refusal) = &props.refusal {
                <p class="fault" role="alert" data-testid="genome-refusal">{ refusal }</p>
            }
            { source(props) }
        </section>
    }
}

fn entry(props: &GenomePanelProps, genome: &Genome) -> Html {
    let id = genome.id;
    let remove = props
        .on_wish
        .reform(move |_: MouseEvent| GenomeWish::Remove(id));
    html! {
        <li key={id.to_string()} data-testid="genome" data-genome-id={id.to_string()}>
            <span class="kept-name">{ &genome.name }</span>
            <span class="quiet small">{ genome.words() }</span>
            if let Some(trouble) = genome.trouble() {
                <span class="small fault-text">{ trouble }</span>
            }
            <span class="kept-buttons">
                <button type="button" class="text-button" onclick={remove} data-testid="genome-remove"
                    aria-label={format!("Remove {}", genome.name)}>
                    { "Remove" }
                </button>
            </span>
        </li>
    }
}

fn source(props: &GenomePanelProps) -> Html {
    let on_wish = props.on_wish.clone();
    let onchange = Callback::from(move |event: Event| {
        let input: HtmlInputElement = event.target_unchecked_into();
        let list = input.files();
        let files = list
            .iter()
            .flat_map(|list| (0..list.length()).filter_map(|at| list.get(at)));
        let files: Vec<_> = files.collect();
        if !files.is_empty() {
            on_wish.emit(GenomeWish::Load(files));
        }
        // The same file can be chosen again after a failure.
        input.set_value("");
    });
    html! {
        <div class="field file">
            <label for="genome-file">{ "Load a genome from your files" }</label>
            <input id="genome-file" type="file" accept=".gguf,.json,.safetensors" multiple=true {onchange}
                aria-describedby="genome-hint" data-testid="genome-file" />
            <span id="genome-hint" class="quiet small">
                { "One .gguf adapter, or adapter_config.json and adapter_model.safetensors together. It is kept in this browser." }
            </span>
        </div>
    }
}
