//! The `portcullis` command: one subcommand per file. Never holds policy: it
//! composes the libraries and turns their errors into words and exit codes.

#[cfg(feature = "auth")]
mod auth;
#[cfg(feature = "edge")]
mod check;
mod completions;
mod console;
#[cfg(feature = "edge")]
mod control;
#[cfg(feature = "auth")]
mod data_dir;
#[cfg(feature = "edge")]
mod edge;
mod file_limit;
mod port_holder;
mod probe;
#[cfg(all(feature = "edge", feature = "auth"))]
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use console::Console;

/// A request's memory comes and goes in sizes that glibc's allocator keeps no lists of. Its huge pages take
/// 13 MB at rest and are worth a tenth of a TLS handshake.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped as asked
  1  bad configuration, taken port, or a failure while running
  2  wrong usage of the command line, or nobody to probe or to ask";

const EXAMPLES: &str = "\
Examples:
  portcullis up                            try everything on this machine
  portcullis check edge.yaml               find every mistake in a configuration
  portcullis edge --config edge.yaml       run the load balancer
  portcullis explain 'GET /api'            see what it would do with a request, and why
  portcullis status --watch                see what a running one does
  portcullis probe http://127.0.0.1:8080   try a running one as a stranger would
  PORT=8001 portcullis auth                run one auth instance";

/// A layer 7 load balancer and the authentication service behind it, in one binary.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(all(feature = "edge", feature = "auth"))]
    Up(up::Arguments),
    #[cfg(feature = "edge")]
    Edge(edge::Arguments),
    #[cfg(feature = "auth")]
    Auth(auth::Arguments),
    #[cfg(feature = "edge")]
    Check(check::Arguments),
    #[cfg(feature = "edge")]
    Explain(Box<control::explain::Arguments>),
    #[cfg(feature = "edge")]
    Status(control::status::Arguments),
    #[cfg(feature = "edge")]
    Drain(control::endpoint::Drain),
    #[cfg(feature = "edge")]
    Undrain(control::endpoint::Undrain),
    #[cfg(feature = "edge")]
    Weight(control::endpoint::Weight),
    #[cfg(feature = "edge")]
    Switch(control::route::Switch),
    #[cfg(feature = "edge")]
    Split(control::route::Split),
    #[cfg(feature = "edge")]
    Flag(control::flag::Flag),
    #[cfg(feature = "edge")]
    HealthCheck(control::health_check::Arguments),
    #[cfg(feature = "edge")]
    Reload(control::reload::Reload),
    #[cfg(feature = "edge")]
    Rollback(control::reload::Rollback),
    #[cfg(feature = "edge")]
    Config(control::reload::Config),
    #[cfg(feature = "edge")]
    Upgrade(control::upgrade::Arguments),
    #[cfg(feature = "edge")]
    History(control::audit::History),
    #[cfg(feature = "edge")]
    Audit(control::audit::Audit),
    #[cfg(feature = "edge")]
    Bans(control::bans::Bans),
    #[cfg(feature = "edge")]
    Ban(control::bans::Ban),
    #[cfg(feature = "edge")]
    Unban(control::bans::Unban),
    Probe(Box<probe::Arguments>),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has chosen a TLS backend before the first line of main");
    let result = match Arguments::parse().command {
        #[cfg(all(feature = "edge", feature = "auth"))]
        Command::Up(arguments) => up::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Edge(arguments) => edge::run(&arguments),
        #[cfg(feature = "auth")]
        Command::Auth(arguments) => auth::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Check(arguments) => check::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Explain(arguments) => control::explain::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Status(arguments) => control::status::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Drain(arguments) => control::endpoint::drain(&arguments),
        #[cfg(feature = "edge")]
        Command::Undrain(arguments) => control::endpoint::undrain(&arguments),
        #[cfg(feature = "edge")]
        Command::Weight(arguments) => control::endpoint::weight(&arguments),
        #[cfg(feature = "edge")]
        Command::Switch(arguments) => control::route::switch(&arguments),
        #[cfg(feature = "edge")]
        Command::Split(arguments) => control::route::split(&arguments),
        #[cfg(feature = "edge")]
        Command::Flag(arguments) => control::flag::run(&arguments),
        #[cfg(feature = "edge")]
        Command::HealthCheck(arguments) => control::health_check::run(&arguments),
        #[cfg(feature = "edge")]
        Command::Reload(arguments) => control::reload::reload(&arguments),
        #[cfg(feature = "edge")]
        Command::Rollback(arguments) => control::reload::rollback(&arguments),
        #[cfg(feature = "edge")]
        Command::Config(arguments) => control::reload::config(&arguments),
        #[cfg(feature = "edge")]
        Command::Upgrade(arguments) => control::upgrade::run(&arguments),
        #[cfg(feature = "edge")]
        Command::History(arguments) => control::audit::history(&arguments),
        #[cfg(feature = "edge")]
        Command::Audit(arguments) => control::audit::audit(&arguments),
        #[cfg(feature = "edge")]
        Command::Bans(arguments) => control::bans::bans(&arguments),
        #[cfg(feature = "edge")]
        Command::Ban(arguments) => control::bans::ban(&arguments),
        #[cfg(feature = "edge")]
        Command::Unban(arguments) => control::bans::unban(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            Console::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_exit_codes_in_its_help() {
        fn walk(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("Example"), "{path}: no example");
            assert!(help.contains("Exit codes:"), "{path}: no exit codes");
            for child in command.get_subcommands() {
                if child.get_name() != "help" {
                    walk(child, &format!("{path} {}", child.get_name()));
                }
            }
        }
        walk(&Arguments::command(), "portcullis");
    }

    #[test]
    fn readme_names_every_command() {
        fn walk(command: &clap::Command, path: &str, readme: &str, missing: &mut Vec<String>) {
            for child in command.get_subcommands() {
                let path = format!("{path} {}", child.get_name());
                if !readme.contains(&format!("`{path}")) {
                    missing.push(path.clone());
                }
                // The verbs of a command are for its own help to list.
                if path.split(' ').count() < 3 {
                    walk(child, &path, readme, missing);
                }
            }
        }
        let readme = include_str!("../../README.md");
        let mut missing = Vec::new();
        walk(&Arguments::command(), "portcullis", readme, &mut missing);
        assert_eq!(missing, [] as [&str; 0]);
    }
}
