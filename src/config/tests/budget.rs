//! `[budget]`: who else connects.

use super::*;
use crate::database::budget::Process;

#[test]
fn processes_in_both_forms() {
    let default = Case::new("").config().budget;
    assert_eq!(default, BudgetConfig { limit: None, reserved: 0, processes: Vec::new() });
    let api = |count, pool| Process { name: "api".to_owned(), count, pool };
    let inline = "[budget]\nlimit = 120\nreserved = 10\nprocesses = [{ name = \"api\", count = 4, pool = 8 }]";
    let expected = BudgetConfig { limit: Some(120), reserved: 10, processes: vec![api(4, 8)] };
    assert_eq!(Case::new(inline).config().budget, expected);
    let tables = "[[budget.processes]]\nname = \"api\"\npool = 8\n[[budget.processes]]\nname = \"tintype serve\"\n\
                  count = 0\npool = 4";
    let found = Case::new(tables).with("TINTYPE_BUDGET_LIMIT", "60").config().budget;
    assert_eq!((found.limit, found.processes.len(), &found.processes[0]), (Some(60), 2, &api(1, 8)));
}

#[test]
fn what_is_no_process_is_refused() {
    let one = |keys: &str| format!("[[budget.processes]]\n{keys}");
    assert_finding(&one("name = \"api\"\npol = 4\npool = 5"), 3, &["unknown key `pol`", "did you mean `pool`?"]);
    assert_finding(&one("name = \"api\""), 1, &["`pool`", "pool = 8"]);
    assert_finding(&one("name = \"api\"\npool = 0"), 3, &["`pool` of a process can't be 0"]);
    assert_finding(&one("name = \" \"\npool = 1"), 2, &["empty name"]);
    let twice = one("name = \"api\"\npool = 1\n") + &one("name = \"api\"\npool = 1\n");
    assert_finding(&twice, 5, &["two processes are named \"api\"", "count"]);
    assert_finding("[budget]\nprocesses = 4", 2, &["list of tables"]);
    assert_finding("[budget]\nprocesses = [4]", 2, &["a process is a table"]);
    assert_finding("[budget]\nlimit = 0", 2, &["[budget] limit can't be 0"]);
    let variable = Case::new("").with("TINTYPE_BUDGET_PROCESSES", "x").usage();
    assert!(variable.contains("can only be set in the file"), "{variable}");
}
