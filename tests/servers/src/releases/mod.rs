//! Servers of another suite of Debian than the machine's.
//!
//! Nothing is installed: the packages, with all that they depend on, are unpacked into a folder and
//! run there, with their own C library.

mod apt;
mod installation;
mod mirror;

use anyhow::{Context, Result};

pub(crate) use self::installation::Installation;

/// A server, and the suite that has it.
#[derive(Debug)]
pub struct Release {
    pub product: Product,
    /// As the version of its package begins.
    pub version: &'static str,
    suite: &'static str,
    /// The one with the server comes first.
    packages: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Postgres,
    MySql,
    MariaDb,
}

/// The one place that names suites. A suite that has moved on to another version is an error that
/// says so.
pub const RELEASES: [Release; 4] = [
    Release {
        product: Product::MySql,
        version: "9.7",
        suite: "sid",
        packages: &["mysql-server-core"],
    },
    Release {
        product: Product::MariaDb,
        version: "11.8",
        suite: "trixie",
        packages: &["mariadb-server-core"],
    },
    Release {
        product: Product::Postgres,
        version: "17",
        suite: "trixie",
        packages: &["postgresql-17", "libc-bin"],
    },
    Release {
        product: Product::Postgres,
        version: "18",
        suite: "sid",
        packages: &["postgresql-18", "libc-bin"],
    },
];

impl Release {
    pub fn of(product: Product, version: &str) -> Result<&'static Self> {
        RELEASES
            .iter()
            .find(|release| release.product == product && release.version == version)
            .with_context(|| {
                let known: Vec<_> = Self::versions(product).collect();
                let known = known.join(", ");
                format!("no suite of Debian is known to have {product:?} {version}, only {known}")
            })
    }

    /// The versions of a product that can be had.
    pub fn versions(product: Product) -> impl Iterator<Item = &'static str> {
        RELEASES
            .iter()
            .filter(move |release| release.product == product)
            .map(|release| release.version)
    }

    /// The one whose version a variable of the environment holds.
    pub(crate) fn wanted(product: Product, variable: &str) -> Result<Option<&'static Self>> {
        match std::env::var(variable) {
            Ok(version) if !version.is_empty() => Self::of(product, &version).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_found_by_its_version() {
        let release = Release::of(Product::MariaDb, "11.8").unwrap();
        assert_eq!(release.suite, "trixie");
        let versions: Vec<_> = Release::versions(Product::Postgres).collect();
        assert_eq!(versions, ["17", "18"]);
        let unknown = Release::of(Product::Postgres, "16").unwrap_err();
        assert!(unknown.to_string().ends_with("only 17, 18"), "{unknown}");
    }
}
