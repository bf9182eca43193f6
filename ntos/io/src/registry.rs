//! The registry, as far as drivers' service keys need it: values by key path.
//!
//! Room: ntos/io, until a configuration manager (`cm`) is there. Called by: `nt_machine` (fills it from `--reg`, `--inf`),
//! the Filter Manager (instance altitudes). IRQL: PASSIVE_LEVEL. Locks: the table's.
//! Source: "Registry trees for services", FltRegisterFilter page (Instances key); rule FLT-R-04. Keys ignore case.

use nt_ke::RwLock;
use std::collections::BTreeMap;

/// A registry value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// REG_DWORD.
    Dword(u32),
    /// REG_SZ.
    Text(String),
}

/// The values of a key: by the name in lower case, the name as given and the value.
type Values = BTreeMap<String, (String, Value)>;

/// Keys and their values.
#[derive(Default)]
pub struct Registry {
    keys: RwLock<BTreeMap<String, Values>>,
}

/// Returns the path of a driver's service key.
#[must_use]
pub fn service_key(name: &str) -> String {
    format!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\{name}")
}

fn canonical(path: &str) -> String {
    path.trim_end_matches('\\').to_uppercase()
}

impl Registry {
    /// Makes a key, and the keys above it, if they are not there.
    pub fn create(&self, key: &str) {
        self.keys.write().entry(canonical(key)).or_default();
    }

    /// Sets a value; the key is made if it is not there.
    pub fn set(&self, key: &str, name: &str, value: Value) {
        let mut keys = self.keys.write();
        keys.entry(canonical(key)).or_default().insert(name.to_uppercase(), (name.to_owned(), value));
    }

    /// Returns whether a key, or one under it, is there.
    #[must_use]
    pub fn exists(&self, key: &str) -> bool {
        let key = canonical(key);
        let below = format!("{key}\\");
        self.keys.read().keys().any(|each| *each == key || each.starts_with(&below))
    }

    /// Returns a value.
    #[must_use]
    pub fn get(&self, key: &str, name: &str) -> Option<Value> {
        let keys = self.keys.read();
        keys.get(&canonical(key))?.get(&name.to_uppercase()).map(|(_, value)| value.clone())
    }

    /// Returns a value that is text.
    #[must_use]
    pub fn text(&self, key: &str, name: &str) -> Option<String> {
        match self.get(key, name)? {
            Value::Text(text) => Some(text),
            Value::Dword(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_names_ignore_case() {
        let registry = Registry::default();
        registry.set(&service_key("Spy"), "Start", Value::Dword(3));
        registry.set(&format!("{}\\Instances\\One", service_key("SPY")), "Altitude", Value::Text("385100".into()));
        assert_eq!(registry.get(&service_key("spy"), "START"), Some(Value::Dword(3)));
        assert_eq!(
            registry.text(&format!("{}\\instances\\one", service_key("spy")), "altitude"),
            Some("385100".into())
        );
        assert!(registry.exists(&format!("{}\\Instances", service_key("spy"))) && !registry.exists(&service_key("sp")));
    }
}
