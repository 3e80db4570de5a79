//! systemd's own interface, org.freedesktop.systemd1.Manager (org.freedesktop.systemd1(5)).

use crate::cgroup::Error;
use crate::sys::dbus::{self, Bus, Call, Message};
use crate::types::Pid;
use crate::types::dbus::Value;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// One systemd.
pub(super) struct Manager(Bus);

impl Manager {
    pub(super) fn connect(address: &str) -> Result<Self, Error> {
        Bus::connect(address).map(Self).map_err(Error::Bus)
    }

    /// Makes a transient scope with one process, and waits until it is there.
    pub(super) fn start(
        &mut self,
        unit: &str,
        mut properties: Vec<(String, Value)>,
        pid: Pid,
    ) -> Result<(), Error> {
        let failed = |source| Error::Unit { doing: "start", unit: unit.to_owned(), source };
        self.watch_jobs(unit);
        properties.push(("PIDs".to_owned(), Value::Array("u".to_owned(), vec![Value::U32(pid.0 as u32)])));
        let body = vec![
            Value::text(unit),
            Value::text("replace"),
            list(properties),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let job = match self.call("StartTransientUnit", body.clone()) {
            // Perhaps only the memory of one that failed.
            Err(error) if error.is(UNIT_EXISTS) => {
                self.reset_failed(unit).map_err(failed)?;
                self.call("StartTransientUnit", body)
            }
            job => job,
        };
        match self.job_result(&job.map_err(failed)?).map_err(failed)?.as_str() {
            "done" => Ok(()),
            result => {
                let error = Error::Job { doing: "start", unit: unit.to_owned(), result: result.to_owned() };
                self.reset_failed(unit).map_err(failed)?;
                Err(error)
            }
        }
    }

    /// Stops a unit and waits until it has stopped, and forgets that it failed. One that is not there is no error.
    pub(super) fn stop(&mut self, unit: &str) -> Result<(), Error> {
        let failed = |source| Error::Unit { doing: "stop", unit: unit.to_owned(), source };
        self.watch_jobs(unit);
        match self.call("StopUnit", vec![Value::text(unit), Value::text("replace")]) {
            Err(error) if error.is(NO_SUCH_UNIT) => return Ok(()),
            job => self.job_result(&job.map_err(failed)?).map_err(failed)?,
        };
        self.reset_failed(unit).map_err(failed)
    }

    pub(super) fn set_properties(
        &mut self,
        unit: &str,
        properties: Vec<(String, Value)>,
    ) -> Result<(), Error> {
        // Not beyond the next boot.
        let body = vec![Value::text(unit), Value::Bool(true), list(properties)];
        let done = self.call("SetUnitProperties", body);
        done.map(drop).map_err(|source| Error::Unit { doing: "update", unit: unit.to_owned(), source })
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), dbus::Error> {
        match self.call("ResetFailedUnit", vec![Value::text(unit)]) {
            Err(error) if !error.is(NO_SUCH_UNIT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks for the ends of this unit's jobs, before one begins.
    fn watch_jobs(&mut self, unit: &str) {
        self.0.subscribe(&format!(
            "type='signal',sender='{NAME}',path='{PATH}',interface='{INTERFACE}',member='JobRemoved',arg2='{unit}'"
        ));
        self.post("Subscribe", Vec::new());
    }

    /// Waits for the end of the job that a reply names.
    fn job_result(&mut self, reply: &Message) -> Result<String, dbus::Error> {
        let Some(job @ Value::ObjectPath(_)) = reply.body.first() else { return Err(dbus::Error::Garbled) };
        let removed = self.0.signal(|signal| {
            signal.member == "JobRemoved" && signal.sender == reply.sender && signal.body.get(1) == Some(job)
        })?;
        match removed.body.into_iter().nth(3) {
            Some(Value::Text(result)) => Ok(result),
            _ => Err(dbus::Error::Garbled),
        }
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Message, dbus::Error> {
        let serial = self.post(member, body);
        self.0.reply(serial)
    }

    fn post(&mut self, member: &str, body: Vec<Value>) -> u32 {
        self.0.post(Call { destination: NAME, path: PATH, interface: INTERFACE, member, body })
    }
}

/// `a(sv)`
fn list(properties: Vec<(String, Value)>) -> Value {
    let pair = |(name, value): (String, Value)| Value::Struct(vec![Value::Text(name), value.variant()]);
    Value::Array("(sv)".to_owned(), properties.into_iter().map(pair).collect())
}
