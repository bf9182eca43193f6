//! The native door: `nt_machine::Client`, PreviousMode = UserMode.
//!
//! Room: tests/conformance. Calls: the services of `nt_io` as the client's thread.

use super::{Calls, Raw};
use crate::door::Direction;
use nt_cell::Addr;
use nt_io::info::InfoArguments;
use nt_io::rw::Arguments;
use nt_ke::dispatcher::EventType;
use nt_machine::{Client, CreateSpec, Handle, NtStatus};

/// The calls of a Rust program.
#[derive(Debug)]
pub struct NativeCalls {
    client: Client,
}

impl NativeCalls {
    /// Calls as this process.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the process.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// Turns a count of milliseconds into a relative timeout.
pub(super) fn relative(milliseconds: u32) -> i64 {
    -i64::from(milliseconds) * 10_000
}

fn information(handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> InfoArguments {
    InfoArguments { handle: Handle(handle), iosb: Addr::user(block), buffer: Addr::user(buffer), length, class }
}

impl Calls for NativeCalls {
    fn name(&self) -> &'static str {
        "native"
    }
    fn user(&self) -> bool {
        true
    }
    fn waits_as_user(&self) -> bool {
        true
    }
    fn create(&self, spec: &CreateSpec) -> (NtStatus, u64, u64) {
        match self.client.create(spec) {
            Ok((handle, information)) => (NtStatus::SUCCESS, information, handle.0),
            Err(error) => (error.status(), 0, 0),
        }
    }
    fn close(&self, handle: u64) -> NtStatus {
        self.client.close(Handle(handle)).map_or_else(|error| error.status(), |()| NtStatus::SUCCESS)
    }
    fn transfer(&self, direction: Direction, raw: &Raw) -> NtStatus {
        let arguments = Arguments {
            handle: Handle(raw.file),
            event: Handle(raw.event),
            apc_routine: None,
            apc_context: 0,
            iosb: Addr::user(raw.block),
            buffer: Addr::user(raw.buffer),
            length: raw.length,
            byte_offset: Addr::user(raw.offset),
            key: Addr::user(raw.key),
        };
        match direction {
            Direction::Read => self.client.nt_read_file(&arguments),
            Direction::Write => self.client.nt_write_file(&arguments),
        }
    }
    fn query(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus {
        let arguments = information(handle, block, buffer, length, class);
        self.client.call(|frame| nt_io::info::nt_query_information_file(frame, &arguments))
    }
    fn set(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus {
        let arguments = information(handle, block, buffer, length, class);
        self.client.call(|frame| nt_io::info::nt_set_information_file(frame, &arguments))
    }
    fn event(&self, access: u32, notification: bool, signalled: bool) -> Result<u64, NtStatus> {
        let kind = if notification { EventType::Notification } else { EventType::Synchronization };
        let made = self.client.call(|frame| nt_io::event::create(frame, access, 0, kind, signalled));
        made.map(|handle| handle.0).map_err(NtStatus::from)
    }
    fn wait(&self, handle: u64, milliseconds: u32) -> NtStatus {
        let timeout = Some(relative(milliseconds));
        let waited = self.client.call(|frame| nt_io::event::wait_for(frame, Handle(handle), false, timeout));
        waited.unwrap_or_else(|error| error.status())
    }
}
