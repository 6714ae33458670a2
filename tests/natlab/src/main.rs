//! `natlab net` is an internet, `natlab end` a host of it: a namespace's only device, and the
//! command that runs there.

mod edge;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match edge::CommandLine::parse() {
        edge::CommandLine::Net(net) => {
            runtime.block_on(edge::net::run(net))?;
            Ok(ExitCode::SUCCESS)
        }
        edge::CommandLine::End(end) => {
            let code = runtime.block_on(edge::end::run(end))?;
            Ok(ExitCode::from(code))
        }
    }
}
