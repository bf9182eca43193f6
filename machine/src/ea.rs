//! Lists of FILE_FULL_EA_INFORMATION: the form in which extended attributes travel.
//!
//! Room: machine. Called by: front ends. Calls: nothing. Source: FILE_FULL_EA_INFORMATION page (wdm.h).

/// An attribute: name and value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// Writes a list; names are at most 255 bytes, values at most 65,535. Longer ones give `None`.
#[must_use]
pub fn encode(attributes: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let size = |&(name, value): &(&[u8], &[u8])| (9 + name.len() + value.len()).next_multiple_of(4);
    let mut list = Vec::with_capacity(attributes.iter().map(size).sum());
    let mut last = None;
    for (name, value) in attributes {
        let at = list.len();
        if let Some(previous) = last.replace(at) {
            let distance = u32::try_from(at - previous).ok()?;
            list.get_mut(previous..previous + 4)?.copy_from_slice(&distance.to_le_bytes());
        }
        list.extend_from_slice(&[0; 5]);
        list.push(u8::try_from(name.len()).ok()?);
        list.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
        list.extend_from_slice(name);
        list.push(0);
        list.extend_from_slice(value);
        list.resize(list.len().next_multiple_of(4), 0);
    }
    Some(list)
}

/// Reads a list; what is cut off or inconsistent ends it.
#[must_use]
pub fn decode(list: &[u8]) -> Vec<Attribute> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(record) = list.get(at..).filter(|record| record.len() >= 9) {
        let next = u32::from_le_bytes([record[0], record[1], record[2], record[3]]) as usize;
        let (name, value) = (usize::from(record[5]), usize::from(u16::from_le_bytes([record[6], record[7]])));
        let parts = (record.get(8..8 + name), record.get(9 + name..9 + name + value));
        let (Some(name), Some(value)) = parts else { break };
        found.push((name.to_vec(), value.to_vec()));
        if next == 0 {
            break;
        }
        at += next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_a_round_trip_and_cut_ones_end_early() {
        let list = encode(&[(b"$LXUID", &1u32.to_le_bytes()), (b"A", b""), (b"$LXMOD", b"12345")]).expect("short");
        let found = decode(&list);
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], (b"$LXMOD".to_vec(), b"12345".to_vec()));
        for cut in 0..list.len() {
            assert!(decode(&list[..cut]).len() <= 3);
        }
        assert_eq!(encode(&[(&[b'x'; 256], b"")]), None);
    }
}
