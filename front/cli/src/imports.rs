//! `ntio imports`: what a driver needs from us, before it runs.
//!
//! Room: front/cli. Calls: `nt_pe`, `nt_ldr`, the export table. House rule 12.

use crate::args::ImportsArgs;
use crate::verdict::{CANNOT_LOAD, FINE, Failure, out};
use nt_cell::Support;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

/// Larger than any driver image.
const MOST: u64 = 1 << 30;

/// Reads a driver image: a plain file, and no endless one.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let there = file.metadata().map_err(|error| error.to_string())?;
    if there.is_dir() {
        return Err("Is a directory".to_owned());
    }
    if !there.is_file() {
        return Err("it is no plain file".to_owned());
    }
    if there.len() > MOST {
        return Err(format!("{} bytes are too many for a driver image", there.len()));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(crate) fn print(args: &ImportsArgs) -> Result<u8, Failure> {
    let path = args.image.display();
    let bytes = read(&args.image).map_err(|why| Failure::new(CANNOT_LOAD, format!("{path}: {why}")))?;
    let name = args.image.file_name().map_or_else(|| path.to_string(), |name| name.to_string_lossy().into_owned());
    let pe = nt_pe::parse(&name, &bytes).map_err(|error| Failure::new(CANNOT_LOAD, error.to_string()))?;
    let binder = nt_ldr::Binder::new(&nt_machine::exports());
    let mut rows = nt_ldr::imports(&pe, &binder);
    rows.sort_by(|a, b| (&a.image, &a.name).cmp(&(&b.image, &b.name)));
    let told = |support: Option<Support>| match support {
        Some(Support::Full) => ("full", ""),
        Some(Support::Partial(why)) => ("partial", why),
        Some(Support::Absent(why)) => ("absent", why),
        None => ("absent", "no table has this name"),
    };
    let absent = rows.iter().filter(|row| told(row.support).0 == "absent").count();
    let mut text = String::new();
    if args.json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                let (support, why) = told(row.support);
                serde_json::json!({"image": row.image, "name": row.name, "support": support, "why": why})
            })
            .collect();
        text = serde_json::Value::from(list).to_string() + "\n";
    } else {
        let widest = rows.iter().map(|row| row.image.len() + row.name.len() + 1).max().unwrap_or(0);
        for row in &rows {
            let (support, why) = told(row.support);
            let full = format!("{}!{}", row.image, row.name);
            let line = format!("{full:<widest$}  {support:<7}  {why}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let _ = writeln!(text, "{} imports, {absent} absent", rows.len());
    }
    out(&text)?;
    if absent != 0 {
        crate::verdict::say(&format!(
            "ntio: {name}: {absent} of {} imports are absent; load it with --allow-missing if it can do without",
            rows.len()
        ));
    }
    Ok(if absent == 0 { FINE } else { CANNOT_LOAD })
}
