//! Mistakes in the use of the attributes, and the compiler's messages.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
