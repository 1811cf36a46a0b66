//! Columns on a terminal.

/// Lines with the cells of each column below each other; columns of numbers end at the same place.
pub fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let body = || rows.iter().skip(1);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|column| {
            let width = rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
            let is_number = |row| cell(row, column).chars().all(|c| c.is_ascii_digit() || "%×, ".contains(c));
            (width, body().all(is_number))
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = layout.iter().enumerate().map(|(at, (width, is_number))| match is_number {
            true => format!("{:>width$}", cell(row, at)),
            false => format!("{:width$}", cell(row, at)),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let row = |cells: [&str; 3]| cells.map(ToOwned::to_owned).to_vec();
        let shown = lines(&[row(["who", "all", "state"]), row(["api", "12", "idle"]), row(["日本", "3", ""])]);
        assert_eq!(shown, ["who  all  state", "api   12  idle", "日本     3"]);
    }
}
