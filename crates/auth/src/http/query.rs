//! Queries of lists: each name once, none that is not known. Never repeats what was sent, only names that are ours.

use super::ApiError;

/// What is left to be taken.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `name=value&…`, percent-encoded.
    pub(super) fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        });
        let decoded: Option<Vec<_>> = decoded.collect();
        decoded.map(Self).ok_or(ApiError::InvalidQuery(None))
    }

    /// The value of a name, if there is one.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let position = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(position).1)
    }

    /// The value of a name, as `read` takes it.
    pub(super) fn take_as<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match read(&value) {
                Some(read) => Ok(Some(read)),
                None => Err(ApiError::InvalidQuery(Some(format!(
                    "What the query says for {name} is not possible there."
                )))),
            },
        }
    }

    /// Whatever is left was not known, or was there twice.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(ApiError::InvalidQuery(None)),
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let mut query = Query::read(Some("a=1&b=x%27%20y%2Bz+w&c=")).unwrap();
        assert_eq!(query.take("b").as_deref(), Some("x' y+z w"));
        assert_eq!(query.take("c").as_deref(), Some(""));
        assert_eq!(
            query.take_as("a", |text| text.parse().ok()).unwrap(),
            Some(1_u8)
        );
        assert!(query.finish().is_ok());
        let mut twice = Query::read(Some("a=1&a=2")).unwrap();
        twice.take("a");
        assert!(twice.finish().is_err());
        assert!(Query::read(Some("unknown=1")).unwrap().finish().is_err());
        for bad in ["a", "a=%", "a=%2", "a=%zz", "a=%ff", "a=%00"] {
            assert!(Query::read(Some(bad)).is_err(), "{bad}");
        }
        let wrong = Query::read(Some("a=x"))
            .unwrap()
            .take_as("a", |text| text.parse::<u8>().ok());
        let told = |error: &ApiError| format!("{error:?}");
        assert!(
            wrong
                .as_ref()
                .is_err_and(|error| told(error).contains(" a "))
        );
    }
}
