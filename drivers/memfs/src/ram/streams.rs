//! Named streams in memory: the file keeps their nodes.
//!
//! Room: drivers/memfs. Called by: `stream`, with the tree lock held. Locks: the file's metadata, never with another held.

use super::{RamContent, RamObject};
use crate::backing::{Sizes, Streams};
use crate::node::{Node, Units, upcase};
use crate::stream::Kept;
use nt_abi::NtResult;
use std::sync::Arc;

/// Nothing but bytes.
struct InMemory;

impl Kept for InMemory {
    fn open(&self, _read: bool, _write: bool) -> NtResult<()> {
        Ok(())
    }
    fn sync(&self) -> NtResult<()> {
        Ok(())
    }
    fn is_shared_with_the_host(&self) -> bool {
        false
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn name(stream: &Node) -> Units {
    stream.named.as_ref().map(|named| named.name()).unwrap_or_default()
}

impl Streams for RamObject {
    fn streams_listed(&self) -> NtResult<Vec<(Units, Sizes)>> {
        let sizes = |stream: &Node| {
            let data = stream.data.read();
            Sizes { eof: data.eof, allocation: data.allocation }
        };
        Ok(self.streams_live().iter().map(|stream| (name(stream), sizes(stream))).collect())
    }
    fn streams_live(&self) -> Vec<Arc<Node>> {
        self.inner.lock().streams.clone()
    }
    fn find_stream(&self, _file: &Arc<Node>, wanted: &[u16], exact: bool) -> NtResult<Option<Arc<Node>>> {
        let streams = self.streams_live();
        let same = streams.iter().find(|stream| name(stream) == wanted);
        let upper = upcase(wanted);
        let found = same.or_else(|| streams.iter().find(|stream| !exact && upcase(&name(stream)) == upper));
        Ok(found.cloned())
    }
    fn make_stream(&self, file: &Arc<Node>, name: &[u16]) -> NtResult<Arc<Node>> {
        let content = RamContent::new(&self.shared);
        let stream = Node::new_stream(file, name, InMemory, Box::new(content), Sizes::default())?;
        self.inner.lock().streams.push(Arc::clone(&stream));
        Ok(stream)
    }
    fn remove_stream(&self, stream: &Arc<Node>) -> NtResult<()> {
        self.remove_if(|there| Arc::ptr_eq(there, stream));
        Ok(())
    }
    fn remove_streams_but(&self, kept: &[Arc<Node>]) -> NtResult<()> {
        self.remove_if(|there| !kept.iter().any(|stream| Arc::ptr_eq(stream, there)));
        Ok(())
    }
    fn move_bytes(&self, from: &Node, to: &Node) -> NtResult<()> {
        let (mut from_data, mut to_data) = (from.data.write(), to.data.write());
        std::mem::swap(&mut *from_data, &mut *to_data);
        from.publish(&from_data);
        to.publish(&to_data);
        Ok(())
    }
    fn rename_stream(&self, _stream: &Arc<Node>, _to: &[u16]) -> NtResult<()> {
        Ok(())
    }
}

impl RamObject {
    fn remove_if(&self, gone: impl Fn(&Arc<Node>) -> bool) {
        let gone: Vec<Arc<Node>> = self.inner.lock().streams.extract_if(.., |there| gone(there)).collect();
        drop(gone); // without the lock
    }
}
