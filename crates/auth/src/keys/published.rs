//! One consistent view of the ring: opened keys, the key set and the JWKS document made of them.
//! Never changes after it was made, and never awaits.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use portcullis_token::{Algorithm, Jwks, KeySet, SigningKey};

use super::{Kek, KeyRingError, seal};
use crate::domain::{KeyState, SigningKeyRecord};

/// The published keys as a client gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksDocument {
    /// The JSON, public halves only.
    pub body: Bytes,
    /// A strong entity tag, quotes included, in ASCII: equal exactly when the body is.
    pub etag: Bytes,
}

/// The ring as of one read of the store.
pub(super) struct Published {
    /// Oldest first; all states but retired.
    keys: Vec<(SigningKeyRecord, Arc<SigningKey>)>,
    active: Arc<SigningKey>,
    key_set: Arc<KeySet>,
    document: JwksDocument,
    /// Grows with every change of the ring.
    generation: u64,
}

impl Published {
    /// Opens and parses the published keys; those that `known` holds already are taken from there.
    pub(super) fn assemble(
        records: &[SigningKeyRecord],
        kek: &Kek,
        known: Option<&Self>,
    ) -> Result<Self, KeyRingError> {
        let mut keys = Vec::new();
        for record in published(records) {
            let key = match known.and_then(|known| known.parsed(record)) {
                Some(key) => key,
                None => Arc::new(open(record, kek)?),
            };
            keys.push((record.clone(), key));
        }
        let active: Vec<_> = keys
            .iter()
            .filter(|(record, _)| record.state == KeyState::Active)
            .map(|(_, key)| Arc::clone(key))
            .collect();
        let [active] = <[_; 1]>::try_from(active).map_err(|all| KeyRingError::Active(all.len()))?;
        let jwks = Jwks::new(
            keys.iter()
                .map(|(_, key)| key.public_jwk().clone())
                .collect(),
        )?;
        let body = Bytes::from(jwks.to_json());
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, &body)));
        Ok(Self {
            keys,
            active,
            key_set: Arc::new(KeySet::from_jwks(&jwks)),
            document: JwksDocument {
                body,
                etag: etag.into(),
            },
            generation: known.map_or(0, |known| known.generation + 1),
        })
    }

    /// Whether these rows would give the same view.
    pub(super) fn is_from(&self, records: &[SigningKeyRecord]) -> bool {
        self.keys
            .iter()
            .map(|(record, _)| record)
            .eq(published(records))
    }

    pub(super) fn active(&self) -> &SigningKey {
        &self.active
    }

    pub(super) fn key_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.key_set)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn document(&self) -> JwksDocument {
        self.document.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The parsed key of a row with the same sealed bytes; its state may have moved on.
    fn parsed(&self, wanted: &SigningKeyRecord) -> Option<Arc<SigningKey>> {
        self.keys
            .iter()
            .find(|(known, _)| {
                known.kid == wanted.kid
                    && known.algorithm == wanted.algorithm
                    && known.sealed_private_key == wanted.sealed_private_key
            })
            .map(|(_, key)| Arc::clone(key))
    }
}

fn published(records: &[SigningKeyRecord]) -> impl Iterator<Item = &SigningKeyRecord> {
    records.iter().filter(|record| record.state.is_published())
}

pub(super) fn open(record: &SigningKeyRecord, kek: &Kek) -> Result<SigningKey, KeyRingError> {
    let kid = &record.kid;
    let algorithm =
        Algorithm::from_name(&record.algorithm).ok_or_else(|| KeyRingError::Algorithm {
            kid: kid.clone(),
            algorithm: record.algorithm.clone(),
        })?;
    let pkcs8 = seal::open(
        kek,
        seal::Purpose::SigningKey,
        kid,
        &record.sealed_private_key,
    )
    .ok_or_else(|| KeyRingError::Sealed { kid: kid.clone() })?;
    let unusable = |reason: String| KeyRingError::Unusable {
        kid: kid.clone(),
        reason,
    };
    SigningKey::from_pkcs8(algorithm, &pkcs8)
        .map_err(|error| unusable(error.to_string()))?
        .with_kid(kid)
        .map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMillis;
    use crate::keys::seal::{Purpose, seal};

    fn kek() -> Kek {
        Kek::from_bytes([7; 32])
    }

    fn record(state: KeyState) -> SigningKeyRecord {
        let (key, pkcs8) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        SigningKeyRecord {
            kid: key.kid().to_owned(),
            algorithm: "EdDSA".into(),
            state,
            sealed_private_key: seal(&kek(), Purpose::SigningKey, key.kid(), &pkcs8),
            created_at: UnixMillis(1),
            changed_at: UnixMillis(1),
        }
    }

    fn assemble(records: &[SigningKeyRecord]) -> Result<Published, KeyRingError> {
        Published::assemble(records, &kek(), None)
    }

    fn published_kids(published: &Published) -> Vec<String> {
        let jwks = Jwks::parse(&published.document().body).unwrap();
        jwks.keys().iter().map(|key| key.kid().to_owned()).collect()
    }

    #[test]
    fn all_keys_but_retired_ones_are_published_and_the_active_one_signs() {
        let states = [
            KeyState::Retired,
            KeyState::Retiring,
            KeyState::Active,
            KeyState::Next,
        ];
        let records = states.map(record);
        let published = assemble(&records).unwrap();
        assert_eq!(published.active().kid(), records[2].kid);
        assert_eq!(
            published_kids(&published),
            [&records[1], &records[2], &records[3]].map(|record| record.kid.clone())
        );
        assert!(published.key_set().find(&records[0].kid).is_none());
    }

    #[test]
    fn exactly_one_key_must_be_active() {
        let without = assemble(&[record(KeyState::Next), record(KeyState::Retired)]);
        assert!(matches!(without, Err(KeyRingError::Active(0))));
        let with_two = assemble(&[record(KeyState::Active), record(KeyState::Active)]);
        assert!(matches!(with_two, Err(KeyRingError::Active(2))));
        assert!(matches!(assemble(&[]), Err(KeyRingError::Active(0))));
    }

    #[test]
    fn sec_c16_the_document_holds_no_private_member_and_has_a_strong_tag() {
        let records = [record(KeyState::Active)];
        let document = assemble(&records).unwrap().document();
        let json: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
        let key = json["keys"][0].as_object().unwrap();
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(!key.contains_key(private), "{private}");
        }
        for public in ["kid", "alg", "use", "kty"] {
            assert!(key.contains_key(public), "{public}");
        }
        assert!(document.etag.starts_with(b"\"") && document.etag.ends_with(b"\""));
        assert_eq!(
            assemble(&records).unwrap().document(),
            document,
            "every instance says the same"
        );
        assert_ne!(
            assemble(&[record(KeyState::Active)])
                .unwrap()
                .document()
                .etag,
            document.etag
        );
    }

    #[test]
    fn a_key_that_moved_on_is_not_parsed_again() {
        let mut records = [record(KeyState::Active), record(KeyState::Next)];
        let before = assemble(&records).unwrap();
        assert!(before.is_from(&records));
        records[0].state = KeyState::Retiring;
        records[1].state = KeyState::Active;
        assert!(!before.is_from(&records));
        // Without any way to open boxes, only known keys can be in the new view.
        let other = Kek::from_bytes([8; 32]);
        let after = Published::assemble(&records, &other, Some(&before)).unwrap();
        assert_eq!(after.active().kid(), records[1].kid);
        assert_eq!(published_kids(&after), published_kids(&before));
    }

    #[test]
    fn rows_that_cannot_be_read_are_named() {
        let good = record(KeyState::Active);
        let other =
            Published::assemble(std::slice::from_ref(&good), &Kek::from_bytes([8; 32]), None);
        assert!(matches!(other, Err(KeyRingError::Sealed { kid }) if kid == good.kid));
        let renamed = SigningKeyRecord {
            kid: "another".into(),
            ..good.clone()
        };
        assert!(
            matches!(assemble(&[renamed]), Err(KeyRingError::Sealed { kid }) if kid == "another")
        );
        let unknown = SigningKeyRecord {
            algorithm: "HS256".into(),
            ..good.clone()
        };
        assert!(matches!(
            assemble(&[unknown]),
            Err(KeyRingError::Algorithm { .. })
        ));
        let mislabelled = SigningKeyRecord {
            algorithm: "RS256".into(),
            ..good.clone()
        };
        assert!(matches!(
            assemble(&[mislabelled]),
            Err(KeyRingError::Unusable { .. })
        ));
        let noise = SigningKeyRecord {
            sealed_private_key: seal(&kek(), Purpose::SigningKey, &good.kid, b"noise"),
            ..good
        };
        assert!(matches!(
            assemble(&[noise]),
            Err(KeyRingError::Unusable { .. })
        ));
    }

    #[test]
    fn a_retired_key_need_not_open() {
        let mut retired = record(KeyState::Retired);
        retired.sealed_private_key.clear();
        assemble(&[retired, record(KeyState::Active)]).unwrap();
    }
}
