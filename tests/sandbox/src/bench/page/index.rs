//! The page that leads to the others: what each room found when it was measured last, read from the JSON beside it.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{document, escaped};

/// As much of a room's JSON as is told here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Room {
    bench: String,
    finding: String,
    held: bool,
    ran_on: RanOn,
}

#[derive(Deserialize)]
struct RanOn {
    at: String,
    commit: String,
}

/// The page for the results that lie in this folder; files that are something else are passed over.
pub(in crate::bench) fn index(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter_map(|path| fs::read_to_string(path).ok());
    let mut rooms: Vec<Room> = texts.filter_map(|text| serde_json::from_str(&text).ok()).collect();
    rooms.sort_by(|one, other| one.bench.cmp(&other.bench));
    let rooms: String = rooms.iter().map(card).collect();
    document("dataverse-sync: benchmarks", &format!("<h1>dataverse-sync: benchmarks</h1>{rooms}"))
}

fn card(room: &Room) -> String {
    let (class, mark) = if room.held { ("good", "✓") } else { ("bad", "✗") };
    let bench = escaped(&room.bench);
    format!(
        "<div class=\"card\"><h2><span class=\"{class}\">{mark}</span> <a href=\"{bench}.html\">{bench}</a></h2><p>{}</p>\
         <p class=\"soft\">{} · {}</p></div>",
        escaped(&room.finding),
        escaped(&room.ran_on.at),
        escaped(&room.ran_on.commit)
    )
}
