//! kafko: topics over tokio; the calling thread waits for the task that writes.

use std::sync::Arc;

use bytes::Bytes;
use kafko::{Consumer, Kafko, Producer, Topic};
use tokio::runtime::Runtime;

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "kafko",
    package: "kafko",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "one `write` a call"),
        Work::Durable => Reach::Survives(Class::Power, "`Partition::sync`: two syncs"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "`Partition::sync`, no group commit"),
        Work::Scan => Reach::Reads("each record is looked up anew; only 3,000, as it takes longer the more there are"),
        Work::Random => Reach::Reads("by its offset"),
        Work::Reopen => Reach::Reads("after `shutdown`"),
    },
    reopen_to_scan: false,
    records_max: 3_000,
};

struct Topics {
    runtime: Runtime,
    broker: Kafko,
    topic: Arc<Topic>,
    producer: Producer,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let broker = runtime.block_on(Kafko::open(setup.dir.join("kafko")))?;
    if !runtime.block_on(broker.has_topic("bench")) {
        runtime.block_on(broker.create_topic("bench"))?;
    }
    let topic = runtime.block_on(broker.topic("bench")).ok_or("no topic")?;
    let producer = runtime.block_on(broker.producer_for("bench"))?;
    Ok(Box::new(Topics { runtime, broker, topic, producer }))
}

impl Topics {
    fn partition(&self) -> Result<&Arc<kafko::Partition>> {
        self.topic.partition(0).ok_or_else(|| "no partition".into())
    }
}

impl Engine for Topics {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.runtime.block_on(self.producer.send(None, Bytes::copy_from_slice(value)))?;
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let items = values.iter().map(|value| (None, Bytes::copy_from_slice(value))).collect();
        self.runtime.block_on(self.producer.send_batch(items))?;
        Ok(())
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)?;
        Ok(self.runtime.block_on(self.partition()?.sync())?)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let end = self.partition()?.high_water_mark();
        self.runtime.block_on(async {
            let mut consumer = Consumer::from_topic(self.topic.clone());
            for _ in 0..end {
                each(consumer.next_record().await?.value());
            }
            Ok(())
        })
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let record = self.runtime.block_on(self.partition()?.read_record_at(number))?.ok_or("no such record")?;
        each(record.value());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Topics { runtime, broker, topic, producer } = *self;
        drop((topic, producer));
        Ok(runtime.block_on(broker.shutdown())?)
    }
}
