//! Who waits for whom on a server, in a terminal, as it changes.
//!
//! `cargo run -p lock_top --features postgres,mysql -- URL`. What the library does for it is in
//! `server.rs`.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod app;
mod line;
mod server;
mod view;

use std::error::Error;
use std::io::{stdout, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::app::App;
use crate::server::Server;

/// Shows who waits for a lock, and for whom: the blocker first, under it those who wait for it.
#[derive(Parser)]
#[command(name = "lock_top")]
struct Cli {
    /// The server: postgres://… (feature `postgres`) or mysql://… (feature `mysql`)
    #[arg(value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    url: String,

    /// Print who waits now, and exit
    #[arg(long)]
    once: bool,

    /// How often to ask the server
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = humantime::parse_duration
    )]
    interval: Duration,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = error.to_string();
            eprintln!("error: {}", line::in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let mut server = Server::connect(&cli.url)?;
    if cli.once {
        print!("{}", line::as_text(&line::lines(&server.waits()?)));
        return Ok(());
    }
    if !stdout().is_terminal() {
        return Err("this is no terminal; --once prints who waits now".into());
    }
    let mut app = App::new(server, cli.interval);
    let mut terminal = ratatui::try_init()?;
    let ended = app.run(&mut terminal);
    ratatui::try_restore()?;
    Ok(ended?)
}
