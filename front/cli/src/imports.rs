//! `ntio imports`: what a driver needs from us, before it runs.
//!
//! Room: front/cli. Calls: `nt_pe`, `nt_ldr`, the export table. House rule 12.

use crate::args::ImportsArgs;
use crate::verdict::{CANNOT_LOAD, FINE, Failure, out};
use nt_cell::Support;
use std::fmt::Write as _;

pub(crate) fn print(args: &ImportsArgs) -> Result<u8, Failure> {
    let path = args.image.display();
    let bytes = std::fs::read(&args.image).map_err(|error| Failure::new(CANNOT_LOAD, format!("{path}: {error}")))?;
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
        eprintln!(
            "ntio: {name}: {absent} of {} imports are absent; load it with --allow-missing if it can do without",
            rows.len()
        );
    }
    Ok(if absent == 0 { FINE } else { CANNOT_LOAD })
}
