//! `node-ca-sync`: the program of the nodes. It reads no environment variable and needs no API server and no TLS.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};

use super::failure::Failure;
use crate::{
    node_ca::{DESTINATION, NodeCaSync, SOURCE},
    runtime::shutdown::{self, Shutdown},
};

/// Name of the subcommand, which the DaemonSet uses.
pub(super) const COMMAND: &str = "node-ca-sync";

/// Arguments of `node-ca-sync`. The DaemonSet passes none.
#[derive(Debug, Args)]
pub(super) struct NodeCaArgs {
    /// Directory with one file for each registry host; the last `..` of a file name stands for the colon
    #[arg(long, value_name = "DIRECTORY", default_value = SOURCE, hide = true)]
    source: PathBuf,
    /// Directory where the container runtime looks for CAs
    #[arg(long, value_name = "DIRECTORY", default_value = DESTINATION, hide = true)]
    destination: PathBuf,
    /// Remove every directory that the registry does not need, also those that others created
    #[arg(long)]
    prune_unmanaged: bool,
}

/// The subcommand, for the parser.
pub(super) fn command() -> Command {
    NodeCaArgs::augment_args(Command::new(COMMAND).about("Keep the registry's CAs on this node (DaemonSet node-ca)"))
}

impl NodeCaArgs {
    /// The arguments of the subcommand; `None` if it was not given.
    pub(super) fn of(matches: &ArgMatches) -> Option<Result<Self, clap::Error>> {
        matches.subcommand_matches(COMMAND).map(Self::from_arg_matches)
    }

    /// Runs until a signal.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::new();
        shutdown::on_signals(shutdown.clone()).map_err(Failure::start)?;
        let sync = NodeCaSync {
            source: self.source,
            destination: self.destination,
            prune_unmanaged: self.prune_unmanaged,
        };
        sync.run(&shutdown).await;
        shutdown.cause().map_or(Ok(()), |cause| Failure::of_shutdown(&cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> NodeCaArgs {
        let matches = command()
            .try_get_matches_from([&[COMMAND], arguments].concat())
            .unwrap();
        NodeCaArgs::from_arg_matches(&matches).unwrap()
    }

    // The DaemonSet passes no argument: the defaults are its mounts.
    #[test]
    fn the_defaults_are_the_mounts_of_the_daemon_set_and_directories_of_others_stay() {
        let arguments = parse(&[]);
        assert_eq!(arguments.source, PathBuf::from("/tmp/serviceca"));
        assert_eq!(arguments.destination, PathBuf::from("/etc/docker/certs.d"));
        assert!(!arguments.prune_unmanaged);
        assert!(parse(&["--prune-unmanaged"]).prune_unmanaged);
    }
}
