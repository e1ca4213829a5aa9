//! What `tracing` and `metrics` are told of locked calls.

#[cfg(feature = "metrics")]
mod numbers;
#[cfg(feature = "tracing")]
mod seen;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "tracing")]
mod warnings;

/// `db.system.name` of this backend of the tests.
fn system(backend: &str) -> &str {
    match backend {
        "postgres" => "postgresql",
        other => other,
    }
}
