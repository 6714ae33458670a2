//! The parts of the page, one file each, from the whole to the smallest.

mod dashboard;

mod chat;
mod chat_options;
mod copy_button;
mod examples;
mod follower_banner;
mod genome_panel;
mod kept_models;
mod limits;
mod log_view;
mod mark;
mod model_check;
mod model_panel;
mod node_panel;
mod page_footer;
mod peer_name;
mod peer_table;
mod progress_bar;
mod relay_list;
mod theme_button;
mod top_bar;
mod turn_view;
mod welcome;
mod worn_genomes;

pub(crate) use dashboard::Dashboard;
