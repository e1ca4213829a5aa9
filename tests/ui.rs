//! What must not compile, and what the compiler then says.
//!
//! The messages list what the backends have, so they are compared with all backends compiled in.

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
