//! The report of everything that is counted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rocksdb::statistics::Ticker;

use super::Inner;
use crate::stats::{EngineStats, Health, MoveTotal, TierReport};

impl Inner {
    pub(crate) fn note_classified(&self) {
        *self.classified_at.lock() = Some(self.environment.clock.monotonic());
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(reason) = self.database.events.failure.reason() {
            return Health::Failed { reason: reason.to_owned() };
        }
        if let Some(reason) = self.database.refusing_damage() {
            return Health::Damaged { tier: self.tiers[0].name().to_owned(), reason: String::clone(&reason) };
        }
        match self.space.refusing() {
            Some(device) => Health::ReadOnly { device },
            None => Health::Serving,
        }
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let ticker = |t: Ticker| self.database.options().get_ticker_count(t);
        let now = self.environment.clock.monotonic();
        let prefetch = self.prefetch.statistics();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        EngineStats {
            health: self.health(),
            tiers: self.tier_reports(),
            moves: self.move_totals(),
            reads: self.stats.reads.sum() + self.row_cache.hits(),
            writes: self.stats.writes.sum(),
            deletes: self.stats.deletes.sum(),
            scans: self.stats.scans.sum(),
            refused: self.space.refused(),
            read_latency: self.stats.read_latency(),
            write_latency: self.stats.write_latency(),
            row_cache_hits: self.row_cache.hits(),
            row_cache_misses: self.row_cache.misses(),
            row_cache_used_bytes: self.row_cache.used_bytes(),
            row_cache_capacity_bytes: self.row_cache.capacity_bytes(),
            block_cache_hits: ticker(Ticker::BlockCacheHit),
            block_cache_misses: ticker(Ticker::BlockCacheMiss),
            block_cache_used_bytes: self.database.cache().get_usage() as u64,
            block_cache_capacity_bytes: self.database.cache_bytes(),
            filter_hits: ticker(Ticker::BloomFilterUseful),
            filter_misses: ticker(Ticker::BloomFilterFullPositive)
                .saturating_sub(ticker(Ticker::BloomFilterFullTruePositive)),
            stall: Duration::from_micros(ticker(Ticker::StallMicros)),
            stall_events: load(&self.database.events.stalls),
            corrupt_compactions: load(&self.database.events.corrupt_compactions),
            throttled: Duration::from_micros(load(&self.stats.throttled_micros)),
            wal_bytes: ticker(Ticker::WalFileBytes),
            prefetched_bytes: prefetch.prefetched_bytes,
            prefetch_used_bytes: prefetch.used_bytes,
            prefetch_enabled: prefetch.enabled,
            heat_bytes: self.heat.memory_bytes(),
            policy_generation: self.policy.load().generation,
            moves_running: self.mover.running(),
            last_classified: self.classified_at.lock().map(|at| now.saturating_sub(at)),
        }
    }

    fn tier_reports(&self) -> Vec<TierReport> {
        let load = |tier: usize| self.tiers[tier].stats.reads.sum();
        let all_reads: u64 = (0..self.tiers.len()).map(load).sum();
        let report = |tier: usize| {
            let state = &self.tiers[tier];
            let settings = state.settings();
            let used_bytes = self.database.tier_bytes(tier);
            let stored = self.database.property(tier, "rocksdb.total-sst-files-size");
            let logical_in_files = self.database.raw_file_bytes(tier);
            let compression_ratio = if stored == 0 { 0.0 } else { logical_in_files as f64 / stored as f64 };
            let buffers = self.database.property(tier, "rocksdb.cur-size-all-mem-tables");
            let reads = load(tier);
            TierReport {
                name: state.name().to_owned(),
                id: state.id(),
                rank: state.identity.rank,
                medium: state.identity.medium,
                capacity_bytes: self.space.capacity(tier, settings.size_bytes, used_bytes),
                used_bytes,
                logical_bytes: logical_in_files + buffers,
                keys: self.database.keys(tier),
                reads,
                read_share: if all_reads == 0 { 0.0 } else { reads as f64 / all_reads as f64 },
                read_latency: state.stats.latency(),
                compression_ratio,
                under_reserve: self.space.under_reserve(tier),
                damage: self.database.damage(tier),
                settings: (*settings).clone(),
            }
        };
        (0..self.tiers.len()).map(report).collect()
    }

    fn move_totals(&self) -> Vec<MoveTotal> {
        let name = |tier: usize| self.tiers[tier].name().to_owned();
        self.stats
            .moves()
            .into_iter()
            .map(|(key, count)| MoveTotal {
                from: name(key.from),
                to: name(key.to),
                reason: key.reason,
                moves: count.moves,
                records: count.records,
                bytes: count.bytes,
            })
            .collect()
    }

    /// RocksDB's own statistics and ours, as text for a person.
    pub(crate) fn print_stats(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let stats = self.stats();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{stats:#?}");
        for tier in 0..self.tiers.len() {
            let _ = writeln!(text, "\n== tier {} ==", self.tiers[tier].name());
            if let Ok(Some(lines)) = self.database.raw().property_value_cf(self.database.tier(tier), "rocksdb.cfstats")
            {
                text.push_str(&lines);
            }
        }
        if let Some(lines) = self.database.options().get_statistics() {
            let _ = writeln!(text, "\n== RocksDB ==\n{lines}");
        }
        text
    }
}
