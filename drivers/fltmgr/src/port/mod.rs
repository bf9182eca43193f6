//! Communication ports: a filter's server port, connections, messages both ways.
//!
//! Room: drivers/fltmgr. Called by: `exports` (the filter's side), machines and programs (the user's side, as fltlib.dll has it).
//! Calls: the filter's notify routines. IRQL: PASSIVE_LEVEL; FltSendMessage <= APC_LEVEL. Locks: one connection's queue, never
//! held while a routine runs or a thread waits.
//! Source: FltCreateCommunicationPort, FltSendMessage, FilterGetMessage, FilterReplyMessage pages; rules FLT-P-01 to FLT-P-05.

mod client;
pub mod exports;

pub use client::{Connection, Message};

use crate::filter::Filter;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Slab, callout};
use nt_io::event::LocalEvent;
use nt_io::system::System;
use nt_ke::{Frame, Mode, Mutex, dispatcher, wait};
use nt_ob::types::ObjectType;
use nt_ob::{Node, ObjectRef, object};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The routines and the cookie of a server port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notify {
    pub(crate) cookie: u64,
    pub(crate) connect: CodePtr,
    pub(crate) disconnect: CodePtr,
    pub(crate) message: Option<CodePtr>,
    pub(crate) most: i32,
}

/// A server port.
pub(crate) struct Server {
    name: String,
    notify: Notify,
    object: ObjectRef<Bytes>,
    closed: AtomicBool,
    connections: Mutex<Vec<Arc<Link>>>,
}

/// A message on its way to the program.
struct Sent {
    id: u64,
    bytes: Vec<u8>,
    /// How long a reply may be; 0: none is wanted.
    reply: u32,
    waiter: Arc<Waiter>,
}

/// The thread in FltSendMessage.
struct Waiter {
    event: LocalEvent,
    end: Mutex<Option<End>>,
}

enum End {
    Taken,
    Replied(Vec<u8>),
    Disconnected,
}

impl Waiter {
    fn finish(&self, end: End) {
        let mut there = self.end.lock();
        if there.is_none() {
            *there = Some(end);
        }
        drop(there);
        dispatcher::set_event(self.event.event());
    }
}

#[derive(Default)]
struct Traffic {
    waiting: VecDeque<Sent>,
    unanswered: HashMap<u64, (u32, Arc<Waiter>)>,
}

/// A connection: what PFLT_PORT of a client stands for.
pub(crate) struct Link {
    server: Arc<Server>,
    object: ObjectRef<Bytes>,
    cookie: AtomicU64,
    /// The program's end is closed.
    hung_up: AtomicBool,
    /// FltCloseClientPort.
    closed: AtomicBool,
    traffic: Mutex<Traffic>,
    arrived: LocalEvent,
    next: AtomicU64,
}

#[derive(Clone)]
enum Port {
    Server(Arc<Server>),
    Client(Arc<Link>),
}

static PORTS: LazyLock<Slab<Port>> = LazyLock::new(Slab::new);

fn look_up(pointer: Option<Foreign<Bytes>>) -> Option<Port> {
    let pointer = pointer.filter(|pointer| object::kind_of(*pointer) == Some(ObjectType::FilterPort))?;
    PORTS.get(object::native_key(pointer)).map(|entry| Port::clone(&entry))
}

fn client_at(pointer: Option<Foreign<Bytes>>) -> Option<Arc<Link>> {
    match look_up(pointer)? {
        Port::Client(link) => Some(link),
        Port::Server(_) => None,
    }
}

fn server_at(pointer: Option<Foreign<Bytes>>) -> Option<Arc<Server>> {
    match look_up(pointer)? {
        Port::Server(server) => Some(server),
        Port::Client(_) => None,
    }
}

fn unbind(object: &ObjectRef<Bytes>) {
    PORTS.remove(object::native_key(object.body()));
}

/// FltCreateCommunicationPort (FLT-P-01).
pub(crate) fn create(frame: &Frame, filter: &Arc<Filter>, name: &str, notify: Notify) -> NtResult<Arc<Server>> {
    if notify.most <= 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if filter.going.load(Ordering::Acquire) {
        return NtStatus::FLT_DELETING_OBJECT.fail();
    }
    let object = object::create::<Bytes>(ObjectType::FilterPort, 0x40, frame.kernel.id())?;
    System::of(&frame.kernel).namespace.insert(name, Node::Object(object.clone(), ObjectType::FilterPort))?;
    let server = Arc::new(Server {
        name: name.to_owned(),
        notify,
        object,
        closed: AtomicBool::new(false),
        connections: Mutex::default(),
    });
    object::set_native_key(server.object.body(), PORTS.insert(Port::Server(Arc::clone(&server))));
    filter.ports.lock().push(Arc::clone(&server));
    Ok(server)
}

impl Server {
    /// FltCloseCommunicationPort: no new connections; those that are there live on (FLT-P-05).
    pub(crate) fn close(&self, frame: &Frame) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let _gone = System::of(&frame.kernel).namespace.remove(&self.name);
        unbind(&self.object);
    }

    /// The filter goes: every connection ends with it.
    pub(crate) fn end(&self, frame: &Frame) {
        self.close(frame);
        let links = self.connections.lock().clone();
        for link in links {
            link.hang_up();
            link.close();
        }
    }
}

impl Link {
    /// The program's end goes: the filter is told once (FLT-P-02).
    fn hang_up(&self) {
        if self.hung_up.swap(true, Ordering::AcqRel) {
            return;
        }
        self.release_waiters();
        dispatcher::set_event(self.arrived.event());
        let _raised = callout::call(self.server.notify.disconnect, &[self.cookie.load(Ordering::Acquire)]);
        self.server.connections.lock().retain(|each| !std::ptr::eq(Arc::as_ptr(each), self));
    }

    /// FltCloseClientPort.
    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.release_waiters();
        dispatcher::set_event(self.arrived.event());
        unbind(&self.object);
    }

    fn is_over(&self) -> bool {
        self.hung_up.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire)
    }

    fn release_waiters(&self) {
        let traffic = std::mem::take(&mut *self.traffic.lock());
        let sent = traffic.waiting.into_iter().map(|sent| sent.waiter);
        for waiter in sent.chain(traffic.unanswered.into_values().map(|(_, waiter)| waiter)) {
            waiter.finish(End::Disconnected);
        }
    }

    /// FltSendMessage: TIMEOUT when nobody takes or answers it in time; the reply and its full length (FLT-P-04).
    fn send(&self, frame: &Frame, bytes: Vec<u8>, reply: u32, timeout: Option<i64>) -> Result<Vec<u8>, NtStatus> {
        let event = LocalEvent::new().ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        let waiter = Arc::new(Waiter { event, end: Mutex::new(None) });
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut traffic = self.traffic.lock();
            if self.is_over() {
                return Err(NtStatus::PORT_DISCONNECTED);
            }
            traffic.waiting.push_back(Sent { id, bytes, reply, waiter: Arc::clone(&waiter) });
        }
        dispatcher::set_event(self.arrived.event());
        let header = waiter.event.event().at(nt_abi::ke::KEVENT::Header);
        let waited = wait::wait_for_single(frame, header, Mode::Kernel, false, timeout);
        {
            let mut traffic = self.traffic.lock();
            traffic.waiting.retain(|sent| sent.id != id);
            traffic.unanswered.remove(&id);
        }
        match waiter.end.lock().take() {
            Some(End::Taken) => Ok(Vec::new()),
            Some(End::Replied(bytes)) => Ok(bytes),
            Some(End::Disconnected) => Err(NtStatus::PORT_DISCONNECTED),
            None if waited == NtStatus::TIMEOUT => Err(NtStatus::TIMEOUT),
            None => Err(NtStatus::THREAD_IS_TERMINATING),
        }
    }
}
