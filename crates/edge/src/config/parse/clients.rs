//! Lists of clients: files that can be read, lists that let somebody in. Never keeps a mistake to itself.

use std::sync::Arc;

use portcullis_ops::decode::Located;

use super::super::ClientLists;
use super::super::file::FileClients;
use super::Parser;
use crate::gate::NetworkFile;

impl Parser<'_> {
    pub(super) fn clients(&self, file: &FileClients) -> ClientLists {
        ClientLists {
            allow: file.allow.clone(),
            deny: file.deny.clone(),
            allow_file: self.network_file(file.allow_file.as_ref()),
            deny_file: self.network_file(file.deny_file.as_ref()),
            is_dry_run: file.is_dry_run,
        }
    }

    fn network_file(&self, path: Option<&Located<String>>) -> Option<Arc<NetworkFile>> {
        let path = path?;
        match NetworkFile::open(self.surroundings.directory.join(&path.value)) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                let hint =
                    "one network a line, perhaps until when: 203.0.113.0/24 2027-01-31T12:00:00Z";
                self.report
                    .error_with_hint(path.span, error.to_string(), hint);
                None
            }
        }
    }
}
