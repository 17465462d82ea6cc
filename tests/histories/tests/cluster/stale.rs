//! A wrong read path: a client that answers some reads from what it was told before, as a replica would that asks nobody
//! whether it still leads.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use thermocline_client::Client;
use thermocline_histories::{Answer, Request, Store};

/// Every so many reads one is answered from memory.
const LIES: u64 = 20;

pub struct FromMemory {
    client: Client,
    told: Mutex<HashMap<String, Answer>>,
    reads: AtomicU64,
}

impl FromMemory {
    pub fn new(client: Client) -> Self {
        Self { client, told: Mutex::default(), reads: AtomicU64::new(0) }
    }
}

impl Store for FromMemory {
    async fn call(&self, request: &Request) -> Answer {
        let Request::Get { key } = request else { return self.client.call(request).await };
        let remembered = self.told.lock().unwrap().get(key).cloned();
        if let Some(answer) = remembered
            && self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(LIES)
        {
            return answer;
        }
        let answer = self.client.call(request).await;
        self.told.lock().unwrap().insert(key.clone(), answer.clone());
        answer
    }
}
