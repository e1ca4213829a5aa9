//! What `tracing` and `metrics` are told of locked calls.

#[cfg(feature = "tracing")]
mod endings;
#[cfg(feature = "metrics")]
mod numbers;
#[cfg(feature = "tracing")]
mod seen;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "tracing")]
mod warnings;

/// `db.system.name` of this backend of the tests.
fn system(stamp: &str) -> &str {
    match stamp {
        "postgres" => "postgresql",
        // The backend is the same, and nothing is asked of the server.
        "mariadb" => "mysql",
        other => other,
    }
}
