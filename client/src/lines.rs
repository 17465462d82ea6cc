//! Connections by address, for nodes that routes name. Bounded: the one that was not used for longest goes.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::{EndpointsError, Options, connection::KvLine};

/// Addresses that connections are kept to, beside those of the endpoints.
const MOST: usize = 256;

/// The connections of one client by address.
#[derive(Debug)]
pub(crate) struct Lines {
    seeds: BTreeMap<String, Arc<KvLine>>,
    others: Mutex<Others>,
    options: Options,
}

#[derive(Debug, Default)]
struct Others {
    lines: BTreeMap<String, (Arc<KvLine>, u64)>,
    uses: u64,
}

impl Lines {
    /// Those of the endpoints stay.
    pub(crate) fn new(seeds: impl IntoIterator<Item = (String, Arc<KvLine>)>, options: &Options) -> Self {
        Self { seeds: seeds.into_iter().collect(), others: Mutex::default(), options: options.clone() }
    }

    /// The connection to an address; prepared where it is new. Must be called on a tokio runtime.
    pub(crate) fn to(&self, address: &str) -> Result<Arc<KvLine>, EndpointsError> {
        if let Some(seed) = self.seeds.get(address) {
            return Ok(Arc::clone(seed));
        }
        let mut others = self.others.lock();
        others.uses += 1;
        let now = others.uses;
        if let Some((line, used)) = others.lines.get_mut(address) {
            *used = now;
            return Ok(Arc::clone(line));
        }
        let line = Arc::new(KvLine::new(address, address, &self.options)?);
        if others.lines.len() >= MOST {
            let oldest = others.lines.iter().min_by_key(|(_, (_, used))| *used).map(|(address, _)| address.clone());
            oldest.and_then(|address| others.lines.remove(&address));
        }
        others.lines.insert(address.to_owned(), (Arc::clone(&line), now));
        Ok(line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_used_again_and_bounded_and_those_of_the_endpoints_stay() {
        let options = Options::default();
        let seed = Arc::new(KvLine::new("seed", "h:1", &options).unwrap());
        let lines = Lines::new([("h:1".to_owned(), Arc::clone(&seed))], &options);
        let first = lines.to("other:1").unwrap();
        for port in 2..(MOST + 10) {
            lines.to(&format!("other:{port}")).unwrap();
            assert!(Arc::ptr_eq(&lines.to("other:1").unwrap(), &first), "it is in use");
        }
        assert!(Arc::ptr_eq(&lines.to("h:1").unwrap(), &seed));
        assert_eq!(lines.others.lock().lines.len(), MOST);
        assert!(lines.to("no address").is_err());
    }
}
