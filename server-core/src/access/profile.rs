//! What is shown of a user besides the name, as the application says it: checked here, because it
//! goes to everybody who reads a channel.

use tidewire_core::wire::Profile;
use tidewire_core::wire::json::Writer;

/// Most attributes of a profile.
pub const MAX_ATTRIBUTES: usize = 16;
/// Longest profile, in bytes of its JSON: it is part of each event of the user.
pub const MAX_PROFILE: usize = 1_024;
/// Longest name of an attribute, in bytes.
const MAX_NAME: usize = 32;
/// Longest value of an attribute, in characters.
const MAX_VALUE: usize = 64;
/// Longest address of a picture, in bytes.
const MAX_PICTURE: usize = 512;

/// A profile of these attributes; `None` if there are none. `hidden` says which characters may not
/// be shown.
///
/// # Errors
///
/// What is wrong, beginning with the attribute's name.
pub fn profile<'a>(
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
    hidden: impl Fn(char) -> bool,
) -> Result<Option<Profile>, String> {
    let mut writer = Writer::object();
    let mut count = 0;
    for (name, value) in attributes {
        check(name, value, &hidden)?;
        count += 1;
        writer = writer.str(name, value);
    }
    if count > MAX_ATTRIBUTES {
        return Err(format!("there may be at most {MAX_ATTRIBUTES} attributes"));
    }
    let text = writer.end();
    if text.len() > MAX_PROFILE {
        return Err(format!("it may have at most {MAX_PROFILE} bytes"));
    }
    Ok(Profile::from_json(&text).filter(|_| count > 0))
}

fn check(name: &str, value: &str, hidden: &impl Fn(char) -> bool) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_plain) {
        // The name is the application's own, but may be anything.
        return Err(format!("names of attributes have 1 to {MAX_NAME} characters out of a-z 0-9 _"));
    }
    match name {
        "color" => {
            let digits = value.strip_prefix('#').unwrap_or_default();
            let is_color = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_color.then_some(()).ok_or_else(|| "`color` must be as #3366cc".to_owned())
        }
        "picture" => is_picture(value)
            .then_some(())
            .ok_or_else(|| format!("`picture` must be an https address of at most {MAX_PICTURE} bytes")),
        _ if value.chars().count() > MAX_VALUE => {
            Err(format!("`{name}` may have at most {MAX_VALUE} characters"))
        }
        _ if value.chars().any(hidden) => Err(format!("`{name}` has characters that can't be seen")),
        _ => Ok(()),
    }
}

/// Whether this is an address that a page can put into an attribute as it is: https, a host, and
/// only characters that an address may have unescaped (RFC 3986 section 2).
fn is_picture(value: &str) -> bool {
    let Some(rest) = value.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&()*+,;=%".contains(&byte);
    value.len() <= MAX_PICTURE && !host.is_empty() && !host.contains('@') && rest.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(attributes: &[(&str, &str)]) -> Result<Option<String>, String> {
        let found = profile(attributes.iter().copied(), char::is_control)?;
        Ok(found.map(|profile| profile.as_json().to_owned()))
    }

    #[test]
    fn what_is_shown_is_written_as_it_came() {
        assert_eq!(of(&[]), Ok(None));
        let shown =
            of(&[("role", "Team \"A\""), ("color", "#C0ffee"), ("picture", "https://a.example/7.png?s=64")]);
        let expected =
            r##"{"role":"Team \"A\"","color":"#C0ffee","picture":"https://a.example/7.png?s=64"}"##;
        assert_eq!(shown, Ok(Some(expected.to_owned())));
    }

    #[test]
    fn what_may_not_be_shown_is_refused_by_name() {
        let long = "x".repeat(65);
        let far = format!("https://a.example/{}", "x".repeat(512));
        for (name, value, part) in [
            ("color", "red", "color"),
            ("color", "#12345", "color"),
            ("color", "#12345g", "color"),
            ("color", "", "color"),
            ("picture", "http://a.example/", "picture"),
            ("picture", "javascript:alert(1)", "picture"),
            ("picture", "https://", "picture"),
            ("picture", "https:///x", "picture"),
            ("picture", "https://user@a.example/", "picture"),
            ("picture", "https://a.example/\" onerror=\"x", "picture"),
            ("picture", "https://a.example/<x>", "picture"),
            ("picture", "https://a.example/'", "picture"),
            ("picture", far.as_str(), "picture"),
            ("role", long.as_str(), "role"),
            ("role", "a\nb", "role"),
            ("", "x", "names"),
            ("Role", "x", "names"),
            ("a b", "x", "names"),
            (&long[..33], "x", "names"),
        ] {
            let error = of(&[(name, value)]).unwrap_err();
            assert!(error.contains(part), "{name}={value}: {error}");
        }
        let names: Vec<String> = (0..17).map(|at| format!("a{at}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(of(&many).unwrap_err().contains("16"));
        assert!(of(&many[..16]).is_ok());
        let wide = "\u{1f600}".repeat(64);
        let heavy: Vec<(&str, &str)> =
            names.iter().take(5).map(|name| (name.as_str(), wide.as_str())).collect();
        assert!(of(&heavy).unwrap_err().contains("1024"));
    }
}
