//! A server, with a schema of its own on it as long as the benchmark runs.

use std::marker::PhantomData;

use anyhow::{Context, Result};
use diesel::connection::SimpleConnection;
use diesel::r2d2::{ConnectionManager, NopConnectionCustomizer, Pool, R2D2Connection};
use diesel::Connection;
use url::Url;

use super::pool::{self, Usage};
use super::{at, Bank, Database, Description, SCHEMA, TABLES};

/// What a server's kind makes different.
pub(super) trait Product {
    type Conn: R2D2Connection + SimpleConnection + 'static;

    /// What the server calls a schema.
    const SCHEMA: &'static str;
    /// Behind the statement that drops it.
    const DROP_ALL: &'static str;

    fn describe(conn: &mut Self::Conn) -> Result<Description>;

    /// The same, in the schema.
    fn in_schema(url: &Url) -> Url;

    fn bank(connections: (Pool<ConnectionManager<Self::Conn>>, Usage)) -> Box<dyn Bank>;
}

pub(super) struct Server<P: Product> {
    /// As it was given, to make the schema with.
    given: Url,
    /// With the schema.
    url: Url,
    description: Description,
    product: PhantomData<P>,
}

impl<P: Product> Server<P> {
    pub(super) fn new(given: Url) -> Result<Self> {
        let mut conn = P::Conn::establish(given.as_str())?;
        let server = Self {
            url: P::in_schema(&given),
            description: P::describe(&mut conn)?,
            given,
            product: PhantomData,
        };
        server.drop_schema()?;
        conn.batch_execute(&format!("CREATE {} {SCHEMA}", P::SCHEMA))?;
        P::Conn::establish(server.url.as_str())?.batch_execute(TABLES)?;
        Ok(server)
    }

    fn drop_schema(&self) -> Result<()> {
        let (schema, all) = (P::SCHEMA, P::DROP_ALL);
        let mut conn = P::Conn::establish(self.given.as_str())?;
        conn.batch_execute(&format!("DROP {schema} IF EXISTS {SCHEMA} {all}"))?;
        Ok(())
    }
}

impl<P: Product> Drop for Server<P> {
    fn drop(&mut self) {
        // It may be gone, which is what somebody has been told then.
        let _ = self.drop_schema();
    }
}

impl<P: Product> Database for Server<P> {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn url(&self) -> Option<&Url> {
        Some(&self.url)
    }

    fn open(&self, address: Option<&str>, size: u32) -> Result<Box<dyn Bank>> {
        let url = at(&self.url, address)?;
        let setup = Box::new(NopConnectionCustomizer);
        let connections = pool::pool(url.as_str(), size, setup)
            .with_context(|| format!("{size} connections to {url}"))?;
        Ok(P::bank(connections))
    }
}
