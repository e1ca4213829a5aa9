//! A Galera cluster.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{ensure, Context, Result};

use super::kind::Kind;
use super::{mariadb, server, MariaDb, ACCOUNT};
use crate::home::Home;
use crate::{place, ports, unpacked};

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// A node that is gone is given up after a second: the defaults are for a wide network, and nobody
/// can commit meanwhile.
const PROVIDER_OPTIONS: &str = "gcache.size=32M;evs.keepalive_period=PT0.3S;\
    evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S;evs.inactive_check_period=PT0.3S";

/// Nodes of Debian's MariaDB, each of which takes writes.
///
/// A node that was killed joins again through those that live, so one has to live.
pub struct Galera {
    pub nodes: Vec<MariaDb>,
    /// Has the scripts that hand a node's data to another.
    _scripts: tempfile::TempDir,
}

/// A node that does not reach the others within half a minute, on a busy machine, ends itself.
const ATTEMPTS: u32 = 3;

/// A node's ports, and where the others are.
struct Member<'a> {
    port: u16,
    cluster: &'a str,
    scripts: &'a Path,
}

impl Galera {
    /// So many nodes that are all ready.
    pub fn new(nodes: usize) -> Result<Self> {
        ensure!(Path::new(PROVIDER).exists(), "{PROVIDER} is not there");
        let scripts = place::folder()?;
        // The nodes' account must get there.
        fs::set_permissions(scripts.path(), fs::Permissions::from_mode(0o755))?;
        unpacked::unpack("mariadb-server", scripts.path())?;

        let ports = (0..nodes)
            .map(|_| ports::free(5))
            .collect::<Result<Vec<_>>>()?;
        let addresses: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{}", port + 1))
            .collect();
        let cluster = format!("gcomm://{}", addresses.join(","));
        let mut galera = Self {
            nodes: Vec::new(),
            _scripts: scripts,
        };
        for port in ports {
            let member = Member {
                port,
                cluster: &cluster,
                scripts: galera._scripts.path(),
            };
            let node = member.start(galera.nodes.is_empty());
            let node = node.with_context(|| format!("node {}", galera.nodes.len()))?;
            galera.nodes.push(node);
        }
        Ok(galera)
    }
}

impl Member<'_> {
    fn start(&self, founds: bool) -> Result<MariaDb> {
        let home = Home::new(ACCOUNT)?;
        mariadb::MariaDb::of_debian().install(&home)?;
        let mut command = self.command(&home)?;
        if founds {
            command.arg("--wsrep-new-cluster");
        }
        let mut node = MariaDb::start(home, self.port, command, ATTEMPTS)?;
        // Also the founder, once killed, is to join.
        let joins = self.command(node.process.home())?;
        node.process.becomes(joins);
        Ok(node)
    }

    fn command(&self, home: &Home) -> Result<Command> {
        let [group, increments, transfer] = [1, 2, 4].map(|offset| self.port + offset);
        let mut command = server(&mariadb::MariaDb::of_debian(), home, self.port)?;
        command.args([
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            &format!("--wsrep-provider={PROVIDER}"),
            "--wsrep-cluster-name=galera",
            &format!("--wsrep-cluster-address={}", self.cluster),
            &format!("--wsrep-node-address=127.0.0.1:{group}"),
            "--wsrep-sst-method=rsync",
            &format!("--wsrep-sst-receive-address=127.0.0.1:{transfer}"),
            &format!(
                "--wsrep-provider-options=base_port={group};ist.recv_addr=127.0.0.1:{increments};\
                 gmcast.listen_addr=tcp://127.0.0.1:{group};{PROVIDER_OPTIONS}"
            ),
        ]);
        let path = env::var("PATH").unwrap_or_default();
        let scripts = self.scripts.join("usr/bin");
        command.env("PATH", format!("{}:{path}:/usr/sbin", scripts.display()));
        Ok(command)
    }
}
