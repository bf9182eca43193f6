//! The program's end of a connection: FilterConnectCommunicationPort, FilterGetMessage, FilterReplyMessage, FilterSendMessage.
//!
//! Room: drivers/fltmgr. Called by: machines, programs, tests. IRQL: PASSIVE_LEVEL. Locks: the connection's queue.
//! Source: the fltlib pages of those names; rules FLT-P-02 to FLT-P-05.

use super::{End, Link, PORTS, Port, Server};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Addr, UserBlock, callout};
use nt_ex::pool::{self, Scratch};
use nt_io::event::LocalEvent;
use nt_io::service::violation;
use nt_io::system::System;
use nt_ke::{Frame, Mode, Mutex, dispatcher, wait};
use nt_ob::object;
use nt_ob::types::ObjectType;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A connection of a program to a filter's port; dropping it is closing the handle.
pub struct Connection {
    link: Arc<Link>,
    kernel: std::sync::Weak<nt_ke::Kernel>,
    thread: Arc<nt_ke::Thread>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// A message that a filter sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// MessageId, which a reply names.
    pub id: u64,
    /// ReplyLength: 0 when no reply is wanted.
    pub reply_length: u32,
    /// The message.
    pub bytes: Vec<u8>,
}

fn connect(frame: &Frame, server: &Arc<Server>, context: &[u8]) -> NtResult<Arc<Link>> {
    let resources = NtStatus::INSUFFICIENT_RESOURCES.error();
    let link = Arc::new(Link {
        server: Arc::clone(server),
        object: object::create::<Bytes>(ObjectType::FilterPort, 0x40, frame.kernel.id())?,
        cookie: AtomicU64::new(0),
        hung_up: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        traffic: Mutex::default(),
        arrived: LocalEvent::new().ok_or(resources)?,
        next: AtomicU64::new(0),
    });
    let cookie = Scratch::new(8, pool::tag(b"FMpw"))?;
    let copy = (!context.is_empty()).then(|| Scratch::of(context, pool::tag(b"FMpc"))).transpose()?;
    {
        let mut connections = server.connections.lock();
        if connections.len() >= usize::try_from(server.notify.most).unwrap_or(0) {
            return NtStatus::CONNECTION_COUNT_LIMIT.fail();
        }
        connections.push(Arc::clone(&link));
    }
    object::set_native_key(link.object.body(), PORTS.insert(Port::Client(Arc::clone(&link))));
    let forget = || {
        super::unbind(&link.object);
        server.connections.lock().retain(|each| !Arc::ptr_eq(each, &link));
    };
    let arguments = [
        link.object.body().addr(),
        server.notify.cookie,
        copy.as_ref().map_or(0, |copy| copy.block().addr()),
        context.len() as u64,
        cookie.block().addr(),
    ];
    let answer = frame.with_mode(Mode::Kernel, || callout::call(server.notify.connect, &arguments));
    let status = answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32));
    if !status.is_success() {
        forget();
        return status.fail(); // the filter's refusal is the program's (FLT-P-02)
    }
    link.cookie.store(cookie.region().load::<u64>(0).map_err(violation)?, Ordering::Release);
    Ok(link)
}

impl Connection {
    /// FilterConnectCommunicationPort: the filter's ConnectNotify decides.
    pub fn open(frame: &Frame, name: &str, context: &[u8]) -> NtResult<Self> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let found = System::of(&frame.kernel).namespace.lookup(&units)?;
        if found.kind != ObjectType::FilterPort {
            return NtStatus::OBJECT_TYPE_MISMATCH.fail();
        }
        let server = super::server_at(Some(found.object.body())).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())?;
        let link = connect(frame, &server, context)?;
        Ok(Self { link, kernel: Arc::downgrade(&frame.kernel), thread: Arc::clone(&frame.thread) })
    }

    /// FilterGetMessage: waits for the next one; `timeout` as the kernel counts it, `None` for ever.
    pub fn get(&self, frame: &Frame, timeout: Option<i64>) -> NtResult<Message> {
        loop {
            dispatcher::clear_event(self.link.arrived.event());
            {
                let mut traffic = self.link.traffic.lock();
                if let Some(sent) = traffic.waiting.pop_front() {
                    if sent.reply == 0 {
                        sent.waiter.finish(End::Taken);
                    } else {
                        traffic.unanswered.insert(sent.id, (sent.reply, sent.waiter));
                    }
                    return Ok(Message { id: sent.id, reply_length: sent.reply, bytes: sent.bytes });
                }
            }
            if self.link.is_over() {
                return NtStatus::PORT_DISCONNECTED.fail();
            }
            let header = self.link.arrived.event().at(nt_abi::ke::KEVENT::Header);
            let status = wait::wait_for_single(frame, header, Mode::Kernel, false, timeout);
            if status != NtStatus::SUCCESS {
                return status.fail();
            }
        }
    }

    /// FilterReplyMessage: NO_WAITER_FOR_REPLY when nobody waits for it any more (FLT-P-05).
    pub fn reply(&self, id: u64, bytes: &[u8]) -> NtResult<()> {
        let waiting = self.link.traffic.lock().unanswered.remove(&id);
        let (_, waiter) = waiting.ok_or(NtStatus::FLT_NO_WAITER_FOR_REPLY.error())?;
        waiter.finish(End::Replied(bytes.to_vec()));
        Ok(())
    }

    /// FilterSendMessage: the filter's MessageNotify gets addresses of the program's own memory (FLT-P-03).
    pub fn send(&self, frame: &Frame, input: &[u8], output: usize) -> NtResult<Vec<u8>> {
        let resources = NtStatus::INSUFFICIENT_RESOURCES.error();
        if self.link.is_over() {
            return NtStatus::PORT_DISCONNECTED.fail();
        }
        let routine = self.link.server.notify.message.ok_or(NtStatus::NOT_SUPPORTED.error())?;
        let given = UserBlock::new(input.len().max(1)).ok_or(resources)?;
        let room = UserBlock::new(output.max(1)).ok_or(resources)?;
        given.region().sub(0, input.len()).write_from(input).map_err(violation)?;
        let returned = Scratch::new(8, pool::tag(b"FMpw"))?;
        let address = |block: &UserBlock, length: usize| if length == 0 { 0 } else { Addr::user(block.addr()).value() };
        let arguments = [
            self.link.cookie.load(Ordering::Acquire),
            address(&given, input.len()),
            input.len() as u64,
            address(&room, output),
            output as u64,
            returned.block().addr(),
        ];
        let answer = frame.with_mode(Mode::Kernel, || callout::call(routine, &arguments));
        let status = answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32));
        if !status.is_success() {
            return status.fail();
        }
        let count = returned.region().load::<u32>(0).map_err(violation)? as usize;
        room.region().sub(0, count.min(output)).to_vec().map_err(violation)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(kernel) = self.kernel.upgrade() else { return };
        let _entered = nt_ke::enter(&kernel, &self.thread, Mode::Kernel);
        self.link.hang_up();
    }
}
