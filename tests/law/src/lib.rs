//! Attributes for the functions of `tests/it`: each writes one test per backend.
//!
//! They are attributes because the function then stays plain Rust, which rustfmt formats and
//! editors understand.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, FnArg, PatType, Result, Signature, Token};

/// The backends, and the features that compile them in. SQLite is always there.
const BACKENDS: [(&str, Option<&str>); 4] = [
    ("postgres", Some("postgres")),
    ("mysql", Some("mysql")),
    ("mariadb", Some("mysql")),
    ("sqlite", None),
];

/// Tests a promise on each backend that makes it.
///
/// ```text
/// #[law(postgres, sqlite)]
/// fn balance_is_kept(db: &Db) { … }
/// ```
///
/// The tests are `balance_is_kept::postgres` and `balance_is_kept::sqlite`. Each has a database of
/// its own. `Db` and `Conn` are those of `crate::support::postgres` and `crate::support::sqlite`.
/// Other attributes of the function, such as `#[ignore]` and `#[should_panic]`, apply to each test.
#[proc_macro_attribute]
pub fn law(
    backends: proc_macro::TokenStream,
    function: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    stamp(backends, function, |backend, database| {
        quote! {
            #[allow(unused_imports)]
            use crate::support::#backend::{Conn, Db};
            let #database = &Db::new(concat!(module_path!(), "::", stringify!(#backend)));
        }
    })
}

/// A part that a child process plays on the database of a law, once per backend.
///
/// ```text
/// #[part(postgres, sqlite)]
/// fn depositor(url: String) { … }
/// ```
///
/// `db.play("file::depositor", …)` starts the child. In any other process the part does nothing.
#[proc_macro_attribute]
pub fn part(
    backends: proc_macro::TokenStream,
    function: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    stamp(backends, function, |backend, url| {
        quote! {
            #[allow(unused_imports)]
            use crate::support::#backend::Conn;
            let #url = match crate::support::child::url() {
                Some(url) => url,
                None => return,
            };
        }
    })
}

/// A function, whose body stays unparsed: an editor completes code in a body that is not valid yet,
/// and the compiler reports its own errors there.
struct Function {
    attributes: Vec<Attribute>,
    signature: Signature,
    body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl Function {
    /// The one parameter.
    fn parameter(&self) -> Result<&PatType> {
        let mut parameters = self.signature.inputs.iter();
        match (parameters.next(), parameters.next()) {
            (Some(FnArg::Typed(parameter)), None) => Ok(parameter),
            _ => Err(Error::new_spanned(
                &self.signature,
                "expected one parameter: `db: &Db` of a law, `url: String` of a part",
            )),
        }
    }
}

/// Writes a module with the name of the function, and in it a test with the name of each backend.
/// `set_up` gives the statements that bind the parameter.
fn stamp(
    backends: proc_macro::TokenStream,
    function: proc_macro::TokenStream,
    set_up: impl Fn(&Ident, &PatType) -> TokenStream,
) -> proc_macro::TokenStream {
    tests(backends.into(), function.into(), set_up)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn tests(
    backends: TokenStream,
    function: TokenStream,
    set_up: impl Fn(&Ident, &PatType) -> TokenStream,
) -> Result<TokenStream> {
    let backends = named(backends)?;
    let function: Function = syn::parse2(function)?;
    let parameter = function.parameter()?;
    let Function {
        attributes,
        signature,
        body,
    } = &function;
    let tests = backends.iter().map(|(backend, feature)| {
        // The features are those of the crate under test, so its compiler decides.
        let condition = feature.map(|feature| quote!(#[cfg(feature = #feature)]));
        // Also what a test cannot have, such as `async`, for the compiler to reject it.
        let mut signature = signature.clone();
        signature.ident = backend.clone();
        signature.inputs.clear();
        let set_up = set_up(backend, parameter);
        quote! {
            #condition
            #(#attributes)*
            #[test]
            #signature {
                #set_up
                #body
            }
        }
    });
    let name = &signature.ident;
    Ok(quote! {
        mod #name {
            #[allow(unused_imports)]
            use super::*;
            #(#tests)*
        }
    })
}

/// The backends that the attribute names, each with its feature.
fn named(backends: TokenStream) -> Result<Vec<(Ident, Option<&'static str>)>> {
    let names = Punctuated::<Ident, Token![,]>::parse_terminated.parse2(backends)?;
    let all = BACKENDS.map(|(name, _)| name).join(", ");
    if names.is_empty() {
        let message = format!("expected at least one backend of {all}");
        return Err(Error::new(Span::call_site(), message));
    }
    let mut named = Vec::<(Ident, _)>::new();
    for name in names {
        let known = BACKENDS.iter().find(|(known, _)| name == known);
        let Some((_, feature)) = known else {
            let message = format!("unknown backend `{name}`, expected one of {all}");
            return Err(Error::new(name.span(), message));
        };
        if named.iter().any(|(earlier, _)| *earlier == name) {
            let message = format!("backend `{name}` is named twice");
            return Err(Error::new(name.span(), message));
        }
        named.push((name, *feature));
    }
    Ok(named)
}
