//! `Set-Cookie` as a browser reads it (RFC 6265 section 5.2). Never keeps a jar: checks decide what they send back.

use http::HeaderMap;
use http::header::SET_COOKIE;

/// One cookie that an answer sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Names in lower case; without a value where they have none.
    attributes: Vec<(String, String)>,
}

impl SetCookie {
    /// All that an answer sets, up to a bound.
    pub(crate) fn all(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.get_all(SET_COOKIE).iter();
        fields
            .filter_map(|field| Self::parse(field.to_str().ok()?))
            .take(COOKIES_MAX)
            .collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let attributes = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), value.trim().to_owned()),
            None => (part.to_ascii_lowercase(), String::new()),
        });
        (!name.is_empty()).then(|| Self {
            name: name.trim().to_owned(),
            value: value.trim().trim_matches('"').to_owned(),
            attributes: attributes.collect(),
        })
    }

    /// The value of an attribute; empty where it stands alone.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What a client sends back.
    pub(crate) fn pair(&self) -> String {
        format!("{}={}", self.name, self.value)
    }
}

/// More than that nobody sets in one answer.
const COOKIES_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_value_and_attributes_are_read_as_browsers_do() {
        let cookie =
            SetCookie::parse("_lb=\"a=b\" ; Path=/;HttpOnly; samesite = Lax;; Max-Age=60").unwrap();
        assert_eq!(
            (cookie.name.as_str(), cookie.value.as_str()),
            ("_lb", "a=b")
        );
        assert_eq!(cookie.attribute("httponly"), Some(""));
        assert_eq!(cookie.attribute("samesite"), Some("Lax"));
        assert_eq!(cookie.attribute("secure"), None);
        assert_eq!(cookie.pair(), "_lb=a=b");
    }

    #[test]
    fn what_is_no_cookie_is_left_out() {
        let mut headers = HeaderMap::new();
        for field in ["", "=x", "name", "a=1"] {
            headers.append(SET_COOKIE, field.parse().unwrap());
        }
        let names: Vec<_> = SetCookie::all(&headers)
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(names, ["a"]);
    }
}
