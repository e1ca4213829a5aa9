mod support;

mod fresh;
