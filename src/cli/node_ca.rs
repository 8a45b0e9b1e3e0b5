//! `node-ca-sync`: the program of the nodes. It reads no environment variable and needs no API server and no TLS.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _, ValueEnum};

use super::failure::Failure;
use crate::{
    node_ca::{CONTAINERD_DESTINATION, DESTINATION, Layout, NodeCaSync, SOURCE, Server, await_directory},
    runtime::shutdown::{self, Shutdown},
};

/// Name of the subcommand, which the DaemonSet uses.
pub(super) const COMMAND: &str = "node-ca-sync";

/// The container runtime of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Runtime {
    /// CRI-O, podman and Docker
    Docker,
    /// containerd
    Containerd,
}

/// Arguments of `node-ca-sync`. The DaemonSet passes none for CRI-O.
#[derive(Debug, Args)]
pub(super) struct NodeCaArgs {
    /// Directory with one file for each registry host; the last `..` of a file name stands for the colon
    #[arg(long, value_name = "DIRECTORY", default_value = SOURCE, hide = true)]
    source: PathBuf,
    /// Directory where the container runtime looks for CAs
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    destination: Option<PathBuf>,
    /// The container runtime of the node
    #[arg(long, value_enum, default_value = "docker")]
    runtime: Runtime,
    /// Address and port at which containerd finds the registry HOST; may be repeated
    #[arg(long, value_name = "HOST=ADDRESS")]
    server: Vec<Server>,
    /// Do nothing but wait until this directory exists and is not empty
    #[arg(long, value_name = "DIRECTORY")]
    await_directory: Option<PathBuf>,
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
        match &self.await_directory {
            Some(directory) => await_directory(directory, &shutdown).await,
            None => self.sync().run(&shutdown).await.map_err(Failure::start)?,
        }
        shutdown.cause().map_or(Ok(()), |cause| Failure::of_shutdown(&cause))
    }

    fn sync(self) -> NodeCaSync {
        let (destination, layout) = match self.runtime {
            Runtime::Docker => (DESTINATION, Layout::Docker),
            Runtime::Containerd => (
                CONTAINERD_DESTINATION,
                Layout::Containerd(self.server.into_iter().collect()),
            ),
        };
        NodeCaSync {
            source: self.source,
            destination: self.destination.unwrap_or_else(|| destination.into()),
            prune_unmanaged: self.prune_unmanaged,
            layout,
        }
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

    // The DaemonSet passes no directory: the defaults are its mounts.
    #[test]
    fn the_defaults_are_the_mounts_of_the_daemon_set_and_directories_of_others_stay() {
        for (words, destination) in [
            (&[][..], "/etc/docker/certs.d"),
            (&["--runtime=containerd"], "/etc/containerd/certs.d"),
            (&["--runtime=containerd", "--destination=/x"], "/x"),
        ] {
            let sync = parse(words).sync();
            assert_eq!(sync.source, PathBuf::from("/tmp/serviceca"));
            assert_eq!(sync.destination, PathBuf::from(destination));
            assert!(!sync.prune_unmanaged);
        }
        assert!(parse(&["--prune-unmanaged"]).prune_unmanaged);
    }

    #[test]
    fn a_server_without_host_or_address_is_refused() {
        let server =
            |text: &str| command().try_get_matches_from([COMMAND, "--runtime=containerd", &format!("--server={text}")]);
        for right in ["a.svc:5000=10.0.0.1:5000", "a=[fd00::1]:5000"] {
            assert!(server(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "a",
            "=10.0.0.1:5000",
            "a=10.0.0.1",
            "a=fd00::1:5000",
            "a/..=10.0.0.1:1",
            "a\"=10.0.0.1:1",
            "..=10.0.0.1:1",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
