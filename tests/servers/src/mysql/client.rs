//! MariaDB's client.

use std::process::Command;

/// MariaDB's client, for a URL such as `mysql://user:password@host:port/database`.
pub(super) fn client(url: &str) -> Option<Command> {
    let url = url.strip_prefix("mysql://")?;
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let (authority, database) = url.split_once('/').unwrap_or((url, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));

    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--batch", "--skip-column-names"]);
    for (option, value) in [
        ("host", host),
        ("port", port),
        ("user", user),
        ("database", database),
    ] {
        if !value.is_empty() {
            client.arg(format!("--{option}={}", decoded(value)?));
        }
    }
    if !password.is_empty() {
        // Not an argument, which everybody on the machine can see.
        client.env("MYSQL_PWD", decoded(password)?);
    }
    Some(client)
}

/// Without the percent signs of a URL.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(url: &str) -> Vec<String> {
        let client = client(url).unwrap();
        let arguments = client.get_args().skip(3);
        arguments.map(|a| a.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_client_gets_what_the_url_says() {
        assert_eq!(
            arguments("mysql://me:p%40ss@db:33/x%20y?ssl_mode=DISABLED"),
            ["--host=db", "--port=33", "--user=me", "--database=x y"]
        );
        assert_eq!(
            arguments("mysql://root@localhost"),
            ["--host=localhost", "--user=root"]
        );
        assert!(client("postgres://root@localhost").is_none());
        assert!(client("mysql://a%4@b").is_none());
    }

    #[test]
    fn the_password_is_not_an_argument() {
        let client = client("mysql://me:p%40ss@db/x").unwrap();
        let password = client.get_envs().find(|(name, _)| *name == "MYSQL_PWD");
        assert_eq!(password.unwrap().1.unwrap(), "p@ss");
    }
}
